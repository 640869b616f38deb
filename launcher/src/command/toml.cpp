#include "command/toml.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "checkpoint_file.h"
#include "minim/runtime/error.h"

namespace minim::command {
namespace {

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r'; }
bool is_bare(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_'; }

/// One line, read from left to right.
class LineParser {
 public:
  LineParser(std::string_view text, std::string where) : text_(text), where_(std::move(where)) {}

  bool at_end() {
    skip_space();
    return position_ == text_.size() || text_[position_] == '#';
  }

  std::string key() {
    skip_space();
    if (peek() == '[') fail("a table; options are plain `key = value` lines");
    if (peek() == '"' || peek() == '\'') return quoted();
    const std::size_t begin = position_;
    while (position_ < text_.size() && is_bare(text_[position_])) ++position_;
    if (position_ == begin) fail("a key was expected");
    return std::string(text_.substr(begin, position_ - begin));
  }

  void expect_equals(const std::string& key) {
    skip_space();
    if (peek() != '=') fail(fmt::format("'=' was expected after \"{}\"", key));
    ++position_;
  }

  std::string value() {
    skip_space();
    if (peek() == '[') return array();
    return scalar();
  }

  void expect_end() {
    if (!at_end()) fail(fmt::format("\"{}\" after the value", text_.substr(position_)));
  }

 private:
  char peek() const { return position_ < text_.size() ? text_[position_] : '\0'; }
  void skip_space() {
    while (position_ < text_.size() && is_space(text_[position_])) ++position_;
  }
  [[noreturn]] void fail(const std::string& what) const { throw DataError(fmt::format("{}: {}", where_, what)); }

  std::string scalar() {
    if (peek() == '"' || peek() == '\'') return quoted();
    const std::size_t begin = position_;
    while (position_ < text_.size() && text_[position_] != '#' && text_[position_] != ',' && text_[position_] != ']' &&
           !is_space(text_[position_])) {
      ++position_;
    }
    std::string word(text_.substr(begin, position_ - begin));
    if (word.empty()) fail("a value was expected");
    if (word != "true" && word != "false" && std::string_view("+-.0123456789in").find(word.front()) == std::string_view::npos) {
      fail(fmt::format("{} is neither a number nor true or false; strings are written in quotes", word));
    }
    std::erase(word, '_');
    return word;
  }

  std::string array() {
    ++position_;
    std::string joined;
    for (skip_space(); peek() != ']'; skip_space()) {
      if (!joined.empty()) joined += ',';
      joined += scalar();
      skip_space();
      if (peek() == ',')
        ++position_;
      else if (peek() != ']')
        fail("',' or ']' was expected in the array");
    }
    ++position_;
    return joined;
  }

  std::string quoted() {
    const char quote = text_[position_++];
    std::string result;
    while (peek() != quote) {
      if (position_ == text_.size()) fail("the string has no closing quote");
      char c = text_[position_++];
      if (c == '\\' && quote == '"') c = escaped();
      result += c;
    }
    ++position_;
    return result;
  }

  char escaped() {
    const char c = peek();
    ++position_;
    switch (c) {
      case 'n': return '\n';
      case 't': return '\t';
      case 'r': return '\r';
      case '"':
      case '\\': return c;
      default: fail(fmt::format("unknown escape \\{}", c));
    }
  }

  std::string_view text_;
  std::string where_;
  std::size_t position_ = 0;
};

}  // namespace

std::vector<TomlEntry> parse_toml(std::string_view text, const std::filesystem::path& file) {
  std::vector<TomlEntry> entries;
  std::set<std::string> seen;
  int number = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string where = fmt::format("{}:{}", file.string(), ++number);
    LineParser line(text.substr(0, end), where);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.at_end()) continue;
    TomlEntry entry{.key = line.key(), .value = {}, .line = number};
    line.expect_equals(entry.key);
    entry.value = line.value();
    line.expect_end();
    if (!seen.insert(entry.key).second) throw DataError(fmt::format("{}: \"{}\" is set twice", where, entry.key));
    entries.push_back(std::move(entry));
  }
  return entries;
}

std::vector<TomlEntry> read_toml(const std::filesystem::path& file) {
  if (!std::filesystem::exists(status_of(file))) throw DataError(fmt::format("{}: no such configuration file", file.string()));
  return parse_toml(read_text(file), file);
}

std::string toml_string(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    switch (c) {
      case '\n': result += "\\n"; break;
      case '\t': result += "\\t"; break;
      case '\r': result += "\\r"; break;
      case '"':
      case '\\': result += '\\'; [[fallthrough]];
      default: result += c;
    }
  }
  return result + '"';
}

}  // namespace minim::command

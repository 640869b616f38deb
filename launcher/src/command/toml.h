#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace minim::command {

struct TomlEntry {
  std::string key;
  std::string value;  ///< strings without quotes and escapes, arrays as their elements joined by commas
  int line = 0;
};

/// Reads the part of TOML that options need: `key = value` lines, comments, strings, numbers, booleans, arrays of those on one
/// line. (CLI11's own reader cuts quoted values at '#', knows no escapes and loses line numbers.) Throws DataError as `file:line:
/// what is wrong`.
std::vector<TomlEntry> parse_toml(std::string_view text, const std::filesystem::path& file);

/// Parses a file. Throws DataError that names it when it cannot be read.
std::vector<TomlEntry> read_toml(const std::filesystem::path& file);

/// A TOML basic string, quotes and escapes included.
std::string toml_string(std::string_view text);

}  // namespace minim::command

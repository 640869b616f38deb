#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace minim::command {

/// "512 B", "1.50 MiB"
std::string format_bytes(std::int64_t size_bytes);
/// "0:07", "12:34", "1:02:03"
std::string format_duration(double seconds);
/// "1.20 s", "12.3 ms", "456 us"
std::string format_seconds(double seconds);
/// "950", "12.3 k", "4.09 G": three digits and a decimal prefix.
std::string format_magnitude(double value);

bool is_utf_8(std::string_view text);
/// In quotes, with what is not UTF-8 replaced.
std::string quoted_utf_8(std::string_view text);

/// Rows of cells printed in aligned columns: the first to the left, the others to the right.
class TextTable {
 public:
  explicit TextTable(std::vector<std::string> header = {});
  void add(std::vector<std::string> row);
  /// A line across before the next row.
  void rule();
  /// Left-aligns a column.
  void align_left(std::size_t column);
  std::string to_string() const;

 private:
  std::vector<std::vector<std::string>> rows_;  ///< an empty row is a rule
  std::vector<std::size_t> left_ = {0};
};

}  // namespace minim::command

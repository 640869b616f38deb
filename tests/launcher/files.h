#pragma once

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace minim::testing {

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void write_file(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

/// Changes one bit of one byte.
inline void flip_byte(const std::filesystem::path& path, std::size_t offset) {
  std::string bytes = read_file(path);
  bytes.at(offset) = static_cast<char>(bytes[offset] ^ 0x10);
  write_file(path, bytes);
}

}  // namespace minim::testing

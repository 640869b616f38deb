#pragma once

#include <cstdio>
#include <string>

#include "model/data/idx_files.h"

namespace minim::testing {

inline constexpr std::size_t kTarBlock = 512;

inline void put(Bytes& block, std::size_t offset, const std::string& text) {
  std::copy(text.begin(), text.end(), block.begin() + static_cast<std::ptrdiff_t>(offset));
}

/// Writes the checksum of a header block.
inline void sign(Bytes& block) {
  put(block, 148, std::string(8, ' '));
  unsigned sum = 0;
  for (const std::uint8_t byte : block) sum += byte;
  char digits[8];
  std::snprintf(digits, sizeof digits, "%06o", sum);
  put(block, 148, std::string(digits) + '\0' + ' ');
}

inline Bytes tar_header(const std::string& name, std::size_t size, char type = '0', const std::string& prefix = "") {
  Bytes block(kTarBlock);
  put(block, 0, name);
  put(block, 100, "0000644");
  char digits[12];
  std::snprintf(digits, sizeof digits, "%011zo", size);
  put(block, 124, digits);
  block[156] = static_cast<std::uint8_t>(type);
  put(block, 257, "ustar");
  put(block, 263, "00");
  put(block, 345, prefix);
  sign(block);
  return block;
}

inline void append_member(Bytes& tar, const Bytes& header, const Bytes& content) {
  tar.insert(tar.end(), header.begin(), header.end());
  tar.insert(tar.end(), content.begin(), content.end());
  tar.resize((tar.size() + kTarBlock - 1) / kTarBlock * kTarBlock);
}
inline void append_member(Bytes& tar, const std::string& name, const Bytes& content, char type = '0') {
  append_member(tar, tar_header(name, content.size(), type), content);
}
inline void end_archive(Bytes& tar) { tar.resize(tar.size() + 2 * kTarBlock); }

inline Bytes bytes_of(const std::string& text) { return {text.begin(), text.end()}; }

}  // namespace minim::testing

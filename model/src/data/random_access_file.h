#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace minim {

/// A regular file that several threads may read at once. All failures are DataErrors that name it.
class RandomAccessFile {
 public:
  explicit RandomAccessFile(const std::filesystem::path& path);
  ~RandomAccessFile();
  RandomAccessFile(const RandomAccessFile&) = delete;
  RandomAccessFile& operator=(const RandomAccessFile&) = delete;

  const std::string& name() const { return name_; }
  std::int64_t size_bytes() const { return size_bytes_; }
  /// Fills `out` with what is from `offset` on, or throws, saying that `what` was wanted there.
  void read(std::int64_t offset, std::span<std::uint8_t> out, const std::string& what) const;
  [[noreturn]] void fail(std::int64_t offset, const std::string& text) const;

 private:
  std::string name_;
  int descriptor_ = -1;
  std::int64_t size_bytes_ = 0;
};

}  // namespace minim

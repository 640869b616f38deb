#pragma once

#include <zlib.h>

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace minim {

/// A file of bytes, gzip-compressed or not, read from front to back. Offsets count uncompressed bytes. All failures are
/// DataErrors that name the file and, but for those to open it, the offset.
class ByteSource {
 public:
  /// An empty file is refused: it should have begun with `beginning`.
  ByteSource(std::filesystem::path path, const std::string& beginning);
  ~ByteSource();
  ByteSource(const ByteSource&) = delete;
  ByteSource& operator=(const ByteSource&) = delete;

  /// Fills `out` or throws, saying that `what` was wanted there.
  void read(std::span<std::uint8_t> out, const std::string& what);
  /// Big-endian.
  std::uint32_t read_u32(const std::string& what);
  /// Whether all has been read; only here does zlib see gzip's own checksum and length.
  bool at_end();
  /// Throws unless all has been read.
  void expect_end(const std::string& what);

  /// Bytes that the file can hold at most.
  std::int64_t largest_content_bytes() const;
  std::int64_t size_bytes() const { return size_bytes_; }
  bool compressed() const { return gzdirect(file_) == 0; }
  std::int64_t offset() const { return offset_; }

  [[noreturn]] void fail(std::int64_t offset, const std::string& text) const;

 private:
  std::int64_t read_up_to(std::span<std::uint8_t> out);
  [[noreturn]] void fail_read() const;

  std::filesystem::path path_;
  gzFile file_ = nullptr;
  std::int64_t size_bytes_ = 0;
  std::int64_t offset_ = 0;
};

/// The path of `name` or `name`.gz in a directory. Throws DataError that lists both, with what the file is for.
std::filesystem::path find_file(const std::filesystem::path& directory, const std::string& name, const std::string& purpose);

}  // namespace minim

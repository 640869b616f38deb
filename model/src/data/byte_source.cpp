#include "data/byte_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "minim/runtime/error.h"

namespace minim {
namespace {

namespace fs = std::filesystem;

/// Deflate cannot do better than this (zlib's technical notes), so a header that claims more lies, and nothing is allocated for
/// it.
constexpr std::int64_t kLargestCompressionRatio = 1032;

}  // namespace

ByteSource::ByteSource(fs::path path, const std::string& beginning) : path_(std::move(path)) {
  std::error_code failure;
  size_bytes_ = static_cast<std::int64_t>(fs::file_size(path_, failure));
  if (failure) throw DataError(fmt::format("{}: cannot be read: {}", path_.string(), failure.message()));
  if (size_bytes_ == 0) fail(0, fmt::format("the file is empty, wanted {}", beginning));
  file_ = gzopen(path_.c_str(), "rb");
  if (file_ == nullptr) throw DataError(fmt::format("{}: cannot be opened: {}", path_.string(), std::strerror(errno)));
}

ByteSource::~ByteSource() { gzclose_r(file_); }

void ByteSource::read(std::span<std::uint8_t> out, const std::string& what) {
  const std::int64_t begin = offset_;
  const std::int64_t found = read_up_to(out);
  if (found == static_cast<std::int64_t>(out.size())) return;
  int code = Z_OK;
  gzerror(file_, &code);
  fail(offset_, fmt::format("{} ends here, {} bytes into {} of {} bytes", code == Z_BUF_ERROR ? "the gzip stream" : "the file",
                            offset_ - begin, what, out.size()));
}

std::uint32_t ByteSource::read_u32(const std::string& what) {
  std::array<std::uint8_t, 4> b{};
  read(b, what);
  return std::uint32_t{b[0]} << 24U | std::uint32_t{b[1]} << 16U | std::uint32_t{b[2]} << 8U | std::uint32_t{b[3]};
}

bool ByteSource::at_end() {
  const int byte = gzgetc(file_);
  if (byte >= 0) {
    gzungetc(byte, file_);
    return false;
  }
  int code = Z_OK;
  const char* text = gzerror(file_, &code);
  if (code != Z_OK && code != Z_STREAM_END) fail(offset_, fmt::format("gzip: {}", text));
  return true;
}

void ByteSource::expect_end(const std::string& what) {
  if (!at_end()) fail(offset_, fmt::format("more bytes follow, wanted the end of the file after {}", what));
}

std::int64_t ByteSource::largest_content_bytes() const {
  return compressed() ? size_bytes_ * kLargestCompressionRatio : size_bytes_;
}

void ByteSource::fail(std::int64_t offset, const std::string& text) const {
  throw DataError(fmt::format("{}: offset {}: {}", path_.string(), offset, text));
}

std::int64_t ByteSource::read_up_to(std::span<std::uint8_t> out) {
  constexpr std::size_t kChunk = std::size_t{1} << 24U;  // gzread takes an unsigned int
  std::size_t done = 0;
  while (done < out.size()) {
    const int count = gzread(file_, out.data() + done, static_cast<unsigned>(std::min(kChunk, out.size() - done)));
    if (count < 0) fail_read();
    if (count == 0) break;
    done += static_cast<std::size_t>(count);
    offset_ += count;
  }
  return static_cast<std::int64_t>(done);
}

void ByteSource::fail_read() const {
  int code = Z_OK;
  const char* text = gzerror(file_, &code);
  if (code == Z_ERRNO) fail(offset_, fmt::format("cannot be read: {}", std::strerror(errno)));
  fail(offset_, fmt::format("not valid gzip data: {}", text));
}

fs::path find_file(const fs::path& directory, const std::string& name, const std::string& purpose) {
  std::error_code failure;
  const fs::file_status found = fs::status(directory, failure);
  if (found.type() == fs::file_type::none) {
    throw DataError(fmt::format("{}: cannot be read: {}", directory.string(), failure.message()));
  }
  if (!fs::is_directory(found)) {
    throw DataError(
        fmt::format("{}: no such directory; wanted one with {} or {}.gz ({})", directory.string(), name, name, purpose));
  }
  for (const char* suffix : {"", ".gz"}) {
    auto path = directory / (name + suffix);
    // What cannot be looked at is tried, and says why.
    if (fs::status(path, failure).type() != fs::file_type::not_found) return path;
  }
  throw DataError(fmt::format("{}: has neither {} nor {}.gz ({})", directory.string(), name, name, purpose));
}

}  // namespace minim

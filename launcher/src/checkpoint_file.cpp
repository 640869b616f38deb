#include "checkpoint_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <vector>

#include "minim/runtime/error.h"

namespace minim {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kChunkBytes = std::size_t{1} << 20U;
/// Between two calls of `at_work`: well below a second on any disk.
constexpr std::size_t kPieceBytes = std::size_t{16} << 20U;

void tell(const AtWork& at_work) {
  if (at_work) at_work();
}

[[noreturn]] void fail(const char* action, const fs::path& path) {
  const std::error_code reason(errno, std::generic_category());
  throw DataError(fmt::format("cannot {} {}: {}", action, path.string(), reason.message()));
}

int open_file(const fs::path& path, int flags, const char* action) {
  constexpr mode_t kMode = 0666;  // what the umask leaves of it
  const int descriptor = ::open(path.c_str(), flags | O_CLOEXEC, kMode);
  if (descriptor < 0) fail(action, path);
  return descriptor;
}

std::uint32_t extend_crc32(std::uint32_t crc, std::span<const std::byte> bytes) {
  return static_cast<std::uint32_t>(crc32_z(crc, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

}  // namespace

void check_system(const std::error_code& failure, const char* action, const fs::path& path) {
  if (failure) throw DataError(fmt::format("cannot {} {}: {}", action, path.string(), failure.message()));
}

fs::file_status status_of(const fs::path& path) {
  std::error_code failure;
  const fs::file_status status = fs::status(path, failure);
  if (status.type() == fs::file_type::none) check_system(failure, "read", path);
  return status;
}

OutputFile::OutputFile(fs::path path, AtWork at_work) : path_(std::move(path)), at_work_(std::move(at_work)) {
  descriptor_ = open_file(path_, O_WRONLY | O_CREAT | O_TRUNC, "create");
}

OutputFile::~OutputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void OutputFile::write(std::span<const std::byte> bytes) {
  sum_.crc32 = extend_crc32(sum_.crc32, bytes);
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), std::min(bytes.size(), kPieceBytes));
    if (written < 0) {
      if (errno == EINTR) continue;
      fail("write", path_);
    }
    sum_.size_bytes += written;
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    tell(at_work_);
  }
}

/// Brings what the system has not yet written to disk piece by piece, so that the last synchronisation finds little to do.
void OutputFile::flush() {
  constexpr unsigned kWriteAndWait = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
  for (std::int64_t begin = 0; begin < sum_.size_bytes; begin += static_cast<std::int64_t>(kPieceBytes)) {
    // Where the file system does not know it, or fails, fsync has the last word.
    if (::sync_file_range(descriptor_, begin, kPieceBytes, kWriteAndWait) != 0) return;
    tell(at_work_);
  }
}

FileSum OutputFile::close() {
  flush();
  if (::fsync(descriptor_) != 0) fail("write", path_);
  const int descriptor = descriptor_;
  descriptor_ = -1;
  if (::close(descriptor) != 0) fail("write", path_);
  return sum_;
}

InputFile::InputFile(fs::path path, AtWork at_work) : path_(std::move(path)), at_work_(std::move(at_work)) {
  descriptor_ = open_file(path_, O_RDONLY, "open");
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(descriptor_);
    throw DataError(fmt::format("cannot read {}: not a regular file", path_.string()));
  }
  size_bytes_ = status.st_size;
}

InputFile::~InputFile() { ::close(descriptor_); }

void InputFile::read(std::int64_t offset_bytes, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t count = ::pread(descriptor_, out.data(), std::min(out.size(), kPieceBytes), offset_bytes);
    if (count < 0) {
      if (errno == EINTR) continue;
      fail("read", path_);
    }
    if (count == 0) {
      throw DataError(
          fmt::format("{}: offset {}: the file ends here, {} more bytes wanted", path_.string(), offset_bytes, out.size()));
    }
    offset_bytes += count;
    out = out.subspan(static_cast<std::size_t>(count));
    tell(at_work_);
  }
}

FileSum sum_of(const fs::path& path, const AtWork& at_work) {
  const InputFile file(path, at_work);
  FileSum sum;
  std::vector<std::byte> chunk(static_cast<std::size_t>(std::min<std::int64_t>(kChunkBytes, file.size_bytes())));
  while (sum.size_bytes < file.size_bytes()) {
    const auto part = std::span(chunk).first(static_cast<std::size_t>(
        std::min<std::int64_t>(static_cast<std::int64_t>(chunk.size()), file.size_bytes() - sum.size_bytes)));
    file.read(sum.size_bytes, part);
    sum.crc32 = extend_crc32(sum.crc32, part);
    sum.size_bytes += static_cast<std::int64_t>(part.size());
  }
  return sum;
}

std::string read_text(const fs::path& path) {
  const InputFile file(path);
  std::string text(static_cast<std::size_t>(file.size_bytes()), '\0');
  file.read(0, std::as_writable_bytes(std::span(text)));
  return text;
}

void sync_directory(const fs::path& directory) {
  const int descriptor = open_file(directory, O_RDONLY | O_DIRECTORY, "open");
  const int result = ::fsync(descriptor);
  const int reason = errno;
  ::close(descriptor);
  errno = reason;
  // EINVAL: a file system that cannot synchronise directories and says so.
  if (result != 0 && reason != EINVAL) fail("write", directory);
}

void remove_directory(const fs::path& directory, const AtWork& at_work) {
  std::error_code ignored;
  fs::directory_iterator entry(directory, ignored);
  while (!ignored && entry != fs::directory_iterator()) {
    const fs::path path = entry->path();
    entry.increment(ignored);
    std::error_code unremoved;
    fs::remove_all(path, unremoved);
    tell(at_work);
  }
  fs::remove(directory, ignored);
}

void replace_directory(const fs::path& from, const fs::path& to, const AtWork& at_work) {
  if (::rename(from.c_str(), to.c_str()) == 0) return;
  if (errno != EEXIST && errno != ENOTEMPTY) fail("rename to", to);
  // The exchange is one step, so that there is a checkpoint under the name at any time. Not all file systems know it.
  // The new directory is in place then: what cannot be removed is a leftover, not a failure.
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_EXCHANGE) == 0) return remove_directory(from, at_work);
  const fs::path aside = from.string() + ".replaced";
  if (::rename(to.c_str(), aside.c_str()) != 0 || ::rename(from.c_str(), to.c_str()) != 0) fail("rename to", to);
  remove_directory(aside, at_work);
}

}  // namespace minim

#include "data/random_access_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "minim/runtime/error.h"

namespace minim {

RandomAccessFile::RandomAccessFile(const std::filesystem::path& path) : name_(path.string()) {
  descriptor_ = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe that nobody writes to would not open
  if (descriptor_ < 0) throw DataError(fmt::format("{}: cannot be opened: {}", name_, std::strerror(errno)));
  struct stat status = {};
  if (fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) {
    close(descriptor_);
    throw DataError(fmt::format("{}: is no regular file", name_));
  }
  size_bytes_ = status.st_size;
}

RandomAccessFile::~RandomAccessFile() { close(descriptor_); }

void RandomAccessFile::read(std::int64_t offset, std::span<std::uint8_t> out, const std::string& what) const {
  std::size_t done = 0;
  while (done < out.size()) {
    const auto at = offset + static_cast<std::int64_t>(done);
    const ssize_t count = pread(descriptor_, out.data() + done, out.size() - done, at);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(at, fmt::format("cannot be read: {}", std::strerror(errno)));
    if (count == 0) fail(at, fmt::format("the file ends here, {} bytes into {} of {} bytes", done, what, out.size()));
    done += static_cast<std::size_t>(count);
  }
}

void RandomAccessFile::fail(std::int64_t offset, const std::string& text) const {
  throw DataError(fmt::format("{}: offset {}: {}", name_, offset, text));
}

}  // namespace minim

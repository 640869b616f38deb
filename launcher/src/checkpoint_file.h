#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <system_error>

#include "minim/launcher/at_work.h"

namespace minim {

/// What a file is known by.
struct FileSum {
  std::int64_t size_bytes = 0;
  std::uint32_t crc32 = 0;
  friend bool operator==(const FileSum&, const FileSum&) = default;
};

/// A file being written from front to back. Every failure is a DataError with the file's name and the system's reason. Calls
/// `at_work` after every piece of some megabytes.
class OutputFile {
 public:
  /// Creates the file, or empties it.
  explicit OutputFile(std::filesystem::path path, AtWork at_work = {});
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(std::span<const std::byte> bytes);
  /// Returns when everything is on disk.
  FileSum close();

  const std::filesystem::path& path() const { return path_; }

 private:
  void flush();

  std::filesystem::path path_;
  AtWork at_work_;
  int descriptor_ = -1;
  FileSum sum_;
};

/// A file open for reading anywhere in it. Failures and `at_work` as above.
class InputFile {
 public:
  explicit InputFile(std::filesystem::path path, AtWork at_work = {});
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  std::int64_t size_bytes() const { return size_bytes_; }
  /// Fills `out` from `offset_bytes` on; throws when the file ends before.
  void read(std::int64_t offset_bytes, std::span<std::byte> out) const;

 private:
  std::filesystem::path path_;
  AtWork at_work_;
  int descriptor_ = -1;
  std::int64_t size_bytes_ = 0;
};

/// Size and CRC-32 of a file as it is on disk.
FileSum sum_of(const std::filesystem::path& path, const AtWork& at_work = {});
std::string read_text(const std::filesystem::path& path);

/// What there is under a name, if anything. Throws DataError where the system does not tell.
std::filesystem::file_status status_of(const std::filesystem::path& path);

/// Makes a directory's entries durable: files made in it and renamings within.
void sync_directory(const std::filesystem::path& directory);
/// Removes a directory of files as far as that is possible, and calls `at_work` after each.
void remove_directory(const std::filesystem::path& directory, const AtWork& at_work);
/// Renames a directory onto `to`; where that exists, it is exchanged for the new one and removed.
void replace_directory(const std::filesystem::path& from, const std::filesystem::path& to, const AtWork& at_work);
/// Throws DataError: cannot `action` `path`: reason.
void check_system(const std::error_code& failure, const char* action, const std::filesystem::path& path);

}  // namespace minim

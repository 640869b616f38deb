#pragma once

#include <optional>

#include "data/random_access_file.h"

namespace minim {

/// A regular file within an archive.
struct TarMember {
  std::string name;
  std::int64_t header_offset = 0;  ///< of the first of its headers
  std::int64_t offset = 0, size_bytes = 0;
};

/// The members of a tar archive in their order, found by reading headers alone: POSIX.1-2001 (ustar and pax) and what GNU tar
/// adds, long names and large sizes. Directories, links and devices are passed over. The file must outlive it.
class TarWalk {
 public:
  /// Begins at the header at `offset`.
  explicit TarWalk(const RandomAccessFile& file, std::int64_t offset = 0) : file_(file), next_(offset) {}

  /// The next regular file; none at the end of the archive. Throws DataError that names file and offset, also where the archive
  /// ends without a block of zeros, and so may have been cut.
  std::optional<TarMember> next();

 private:
  const RandomAccessFile& file_;
  std::int64_t next_;
};

}  // namespace minim

#pragma once

#include <vector>

#include "data/random_access_file.h"

namespace minim {

/// An image within a WebDataset shard.
struct ShardImage {
  std::int32_t label = 0;
  std::int64_t header_offset = 0;  ///< see TarMember
  std::int64_t offset = 0, size_bytes = 0;
};

/// The samples of a shard: members that follow each other with the same name up to its first dot, an image (.jpg, .jpeg, .png)
/// and its label as a decimal number (.cls); other members and hidden ones are passed over. No image is looked into. Throws
/// DataError that names the shard, also for an image without a label and a label without an image.
/// Source: github.com/webdataset/webdataset, "The WebDataset Format".
std::vector<ShardImage> index_shard(const RandomAccessFile& shard);

}  // namespace minim

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "minim/model/data/dataset.h"

namespace minim {

/// Image files with labels, wherever they lie. Safe to read from several threads.
class EncodedSource {
 public:
  virtual ~EncodedSource() = default;
  virtual std::int64_t size() const = 0;
  virtual std::int64_t classes() const = 0;
  virtual std::int32_t label(std::int64_t index) const = 0;
  virtual std::string name(std::int64_t index) const = 0;  ///< for messages
  /// The bytes of an image file. Throws DataError that names it.
  virtual std::vector<std::uint8_t> read(std::int64_t index) const = 0;
};

/// Bytes that an image file may have.
inline constexpr std::int64_t kMostImageFileBytes = std::int64_t{1} << 29U;

/// A data set that decodes such files as they are asked for.
std::unique_ptr<Dataset> make_encoded_dataset(std::unique_ptr<EncodedSource> source, const PhotoOptions& options);

}  // namespace minim

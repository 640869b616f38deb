#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "minim/model/data/loader.h"

namespace minim {

/// Checks what all loaders need; throws InvalidArgument that names the option.
void validate(const LoaderOptions& options);

/// Staging memory for one batch.
Batch allocate_batch(const Dataset& dataset, Backend& backend, const LoaderOptions& options);

/// Reads samples into batches. One per thread: it owns the floats between decoding and rounding.
class BatchWriter {
 public:
  /// `seed`: of the random numbers of training samples, whose ids are positions in the stream; without one, images are read as
  /// for evaluation.
  BatchWriter(const Dataset& dataset, DType dtype, std::optional<std::uint64_t> seed = std::nullopt);

  /// Sample `at + i` of the batch becomes image `indices[i]` with id `first_id + i`. Throws what the data set throws. Several
  /// threads may write different samples of a batch.
  void write(Batch& batch, std::int64_t at, std::int64_t first_id, std::span<const std::int64_t> indices);

  /// Ends a batch of which `valid` samples have been written: the rest becomes padding.
  static void finish(Batch& batch, std::int64_t valid);

  /// Makes a batch all padding, with the reason.
  static void fail(Batch& batch, std::string_view reason);

 private:
  std::int32_t read(std::int64_t index, std::int64_t id, std::span<float> image) const;

  const Dataset& dataset_;
  std::optional<std::uint64_t> seed_;
  std::vector<float> image_;  ///< one image; not used where batches hold floats themselves
};

}  // namespace minim

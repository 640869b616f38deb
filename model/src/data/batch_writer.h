#pragma once

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
  BatchWriter(const Dataset& dataset, DType dtype);

  /// Sample i of the batch is image `indices[i]` with id `first_id + i`; what is left of the batch becomes padding. Throws what
  /// the data set throws; the batch is then to be marked with `fail`.
  void write(Batch& batch, std::int64_t first_id, std::span<const std::int64_t> indices);

  /// Makes a batch all padding, with the reason.
  static void fail(Batch& batch, std::string_view reason);

 private:
  const Dataset& dataset_;
  std::vector<float> image_;  ///< one image; not used where batches hold floats themselves
};

}  // namespace minim

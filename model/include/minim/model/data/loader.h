#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "minim/model/data/dataset.h"
#include "minim/runtime/backend.h"

namespace minim {

/// The endless stream of training samples: one permutation of the data set per epoch, keyed by (seed, epoch).
/// Sample p of the stream is the same whatever the number of ranks. Thread-safe.
class SampleStream {
 public:
  SampleStream(std::int64_t dataset_size, std::uint64_t seed);
  ~SampleStream();
  /// Index in the data set of stream position `position` >= 0.
  std::int64_t index_at(std::int64_t position) const;
  std::int64_t epoch_at(std::int64_t position) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Samples of one micro-batch of one rank, in host memory that streams can copy from.
struct Batch {
  Tensor images;                   ///< [N, H, W, C], compute type
  Tensor labels;                   ///< [N], int32
  Tensor sample_ids;               ///< [N], int64: positions in the stream
  std::int32_t valid_samples = 0;  ///< the rest is padding: zeros
  std::string error;               ///< not empty: this batch could not be read and why; valid_samples is 0
};

struct LoaderOptions {
  std::int64_t batch = 1;  ///< samples of a micro-batch
  int micro_batches = 1;   ///< per step
  int rank = 0, world_size = 1;
  DType dtype = DType::fp32;
  std::uint64_t seed = 1;           ///< of the order of training samples and of what augments them
  std::int64_t start_position = 0;  ///< samples consumed by all ranks together
  int threads = 1;                  ///< that read ahead
  int depth = 4;                    ///< micro-batches read ahead
};

/// Reads training batches ahead of their use, augmented where the data set is. Step b covers stream positions [start + b B, start
/// + (b + 1) B) with B = batch * micro_batches * W; rank r's micro-batch m starts at r * batch * micro_batches + m * batch in it.
/// The same batches for any number of threads. A batch may cross epochs, also several, where the data set is smaller than a
/// batch. Allocates `depth` + 2 batches of staging memory once. The data set must outlive the loader.
class TrainingLoader {
 public:
  TrainingLoader(const Dataset& dataset, Backend& backend, LoaderOptions options);
  ~TrainingLoader();
  /// The next micro-batch, valid until the call after next. Never throws for bad data: see Batch::error.
  const Batch& next();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Batch `index` of an evaluation in order: rank r of W reads every W-th batch. Every rank has the same number of batches; what
/// is beyond the data is padding. Sample ids are indices in the data set.
class EvaluationLoader {
 public:
  EvaluationLoader(const Dataset& dataset, Backend& backend, LoaderOptions options);
  ~EvaluationLoader();
  std::int64_t batches() const;  ///< per rank
  /// Valid until the next call. Never throws for bad data: see Batch::error.
  const Batch& read(std::int64_t index);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Bytes of staging memory that a training loader and an evaluation loader with these options take together.
std::int64_t staging_bytes(const ImageTask& task, const LoaderOptions& options);

}  // namespace minim

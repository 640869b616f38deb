#pragma once

#include <filesystem>
#include <vector>

#include "minim/comm/communicator.h"
#include "minim/model/plan.h"

namespace minim::command {

/// Collects the logits of an evaluation over all ranks and writes them, in the order of the data set, as "logits"
/// [images, classes], FP32, of a safetensors file.
class LogitsFile {
 public:
  /// Each rank evaluates `batches` batches of `batch` images, every W-th of the data set.
  LogitsFile(std::int64_t images, std::int64_t classes, std::int64_t batch, std::int64_t batches, Communicator& communicator);

  /// Takes over the logits of this rank's batch of that index.
  void take(std::int64_t index, const Plan& plan, Backend& backend);
  /// Those of all ranks come to all. Collective.
  void gather();
  /// Throws DataError.
  void write(const std::filesystem::path& file) const;

 private:
  std::int64_t images_, classes_, batch_, batches_;
  Communicator& communicator_;
  std::vector<float> logits_;  ///< [ranks, batches, batch, classes]
};

}  // namespace minim::command

#pragma once

#include <filesystem>
#include <functional>
#include <memory>

#include "command/run_config.h"
#include "minim/comm/communicator.h"
#include "minim/model/data/loader.h"
#include "minim/model/plan.h"

namespace minim::command {

/// A network with its training and evaluation graphs.
struct Network {
  Model model;
  Graph training{model, Graph::Mode::training};
  Graph evaluation{model, Graph::Mode::evaluation};

  Network(const RunConfig& config, const ImageTask& task);

  std::vector<Parameter*> parameters() const;
};

struct Datasets {
  std::unique_ptr<Dataset> train, test;
};

/// Opens the data set that the configuration names. What it keeps of training images, as it is told, is booked in `account`.
/// Throws InvalidArgument and DataError.
std::unique_ptr<Dataset> open_split(const RunConfig& config, Split split, std::shared_ptr<MemoryAccount> account = nullptr);

/// Fills inputs of plans with batches. Holds host memory for the numbers that go with them. Where the backend's memory is out of
/// the host's reach, a batch goes there on a stream of its own, to memory of its own, while kernels may still read the batch
/// before.
class BatchFeed {
 public:
  explicit BatchFeed(Backend& backend);

  /// Enqueues the copies of a batch to a plan's inputs; `attempted_step` for plans that draw random numbers. The next call comes
  /// after they have run, and the batch stays as it is until then. Throws DataError for a bad batch.
  void fill(const Plan& plan, const Batch& batch, std::int64_t attempted_step, Stream& stream);

  /// Where the copies of the stream of its own go, see Stream::set_trace.
  void set_trace(TraceRow* row);

  static std::int64_t staging_bytes();  ///< of host memory
  /// Of the backend's memory, for batches of a plan.
  static std::int64_t input_bytes(const Backend& backend, const Plan& plan);

 private:
  Backend& backend_;
  Tensor valid_samples_, attempted_step_;
  Tensor arrived_;                  // a batch on its way to a plan's inputs
  std::unique_ptr<Stream> copies_;  // null where the host reaches the inputs
};

/// Runs `part`, which may fail on this rank alone; then all ranks learn of it and throw the first failing rank's error.
/// Collective.
void run_guarded(Communicator& communicator, const std::function<void()>& part);

/// Rank 0's number on all ranks. Collective.
std::int64_t broadcast_number(Communicator& communicator, std::int64_t value);

}  // namespace minim::command

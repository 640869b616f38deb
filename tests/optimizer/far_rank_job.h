#pragma once

#include <cmath>
#include <string>

#include "minim/runtime/transfer.h"
#include "optimizer/rank_job.h"
#include "remote/bits.h"

namespace minim::testing {

inline constexpr int kSteps = 5;
inline constexpr int kOverflow = 2;  ///< the step whose gradients are not finite on rank 0

/// The parameters of a RankJob, trained without the host touching them.
class FarRankJob {
 public:
  FarRankJob(Communicator& communicator, const std::function<std::unique_ptr<Backend>()>& make_backend,
             const OptimizerConfig& config)
      : rank_(communicator.rank()),
        backend_(make_backend()),
        parameters_(RankJob::make_parameters()),
        optimizer_(*backend_, communicator, RankJob::pointers(parameters_), config),
        sums_(backend_->allocate_tensor(DType::fp32, Shape{3}, MemoryKind::input)),
        stream_(backend_->make_stream("compute")) {
    optimizer_.initialize(/*seed=*/7);
    upload(*backend_, std::vector{3.0F, 4.0F, 2.0F}, sums_);
  }

  void step(int step) {
    write_gradients(step);
    optimizer_.begin_step(*stream_);
    for (const Parameter& parameter : parameters_) optimizer_.before_use(parameter, *stream_);
    for (int p = static_cast<int>(parameters_.size()) - 1; p > 0; --p) {  // the first has none
      optimizer_.gradient_ready(parameters_[static_cast<std::size_t>(p)], *stream_);
    }
    const TensorView sums = sums_.view();
    optimizer_.finish_step(*stream_, sums.slice(0, 1), sums.slice(1, 2), sums.slice(2, 3), {});
    optimizer_.drain();
  }

  /// Collective.
  void append_all(std::string& bits) {
    append(bits, optimizer_.state());
    for (const std::string& array : optimizer_.array_names()) {
      for (const Parameter& parameter : parameters_) append(bits, optimizer_.gather_array(array, parameter));
    }
    optimizer_.gather_weights(*stream_);
    for (const Parameter& parameter : parameters_) {
      std::vector<float> weights(static_cast<std::size_t>(parameter.weight.elements()));
      download(*backend_, parameter.weight, weights);
      append(bits, weights);
    }
  }

  /// Takes every array and the state out and puts them back in. Collective.
  void restore() {
    const StepState state = optimizer_.state();
    for (const std::string& array : optimizer_.array_names()) {
      for (const Parameter& parameter : parameters_) {
        optimizer_.set_array(array, parameter, optimizer_.gather_array(array, parameter));
      }
    }
    optimizer_.set_state(state);
  }

  const StepState& state() const { return optimizer_.state(); }

 private:
  void write_gradients(int step) {
    for (std::size_t p = 1; p < parameters_.size(); ++p) {
      std::vector<float> values(static_cast<std::size_t>(parameters_[p].gradient.elements()));
      for (std::size_t i = 0; i < values.size(); ++i) {
        values[i] = rough_gradient(rank_, static_cast<int>(p), static_cast<std::int64_t>(i), step);
      }
      if (step == kOverflow && rank_ == 0) values.back() = INFINITY;
      upload(*backend_, values, parameters_[p].gradient);
    }
  }

  int rank_;
  std::unique_ptr<Backend> backend_;
  std::vector<Parameter> parameters_;
  ShardedOptimizer optimizer_;
  Tensor sums_;
  std::unique_ptr<Stream> stream_;
};

inline OptimizerConfig far_job_config(UpdateRule rule, GradSync sync, bool shard, Precision precision) {
  OptimizerConfig config;
  config.rule = rule;
  config.grad_sync = sync;
  config.shard = shard;
  config.precision = precision;
  config.clip_norm = 10;
  config.schedule = {.base = 0.01, .warmup_steps = 2, .total_steps = 10};
  config.groups = {{.name = "default", .weight_decay = 0.01}, {.name = "bias"}};
  config.buckets.bucket_bytes = 512;
  return config;
}

/// What some steps of such a job come to on one rank, as bytes: all of its state after each. Collective.
inline std::string bits_of_steps(Communicator& communicator, const std::function<std::unique_ptr<Backend>()>& make_backend,
                                 const OptimizerConfig& config) {
  FarRankJob job(communicator, make_backend, config);
  std::string bits;
  for (int step = 0; step < kSteps; ++step) {
    job.step(step);
    job.append_all(bits);
    if (step == kSteps / 2) job.restore();
  }
  EXPECT_EQ(job.state().applied, kSteps - 1);
  return bits;
}

}  // namespace minim::testing

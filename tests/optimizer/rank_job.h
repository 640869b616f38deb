#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "launcher/rank_threads.h"
#include "minim/optimizer/sharded_optimizer.h"

namespace minim::testing {

/// The scaled gradient of a parameter's element (in memory order) on a rank.
using GradientOf = std::function<float(int parameter, std::int64_t element)>;

/// One rank of a job that trains four small parameters: one with a permuted layout, one in FP32, one in a group of its own.
class RankJob {
 public:
  RankJob(Communicator& communicator_, OptimizerConfig config)
      : communicator(communicator_), backend(make_cpu_backend(1)), parameters(make_parameters()) {
    if (config.groups.size() == 1) config.groups.push_back({.name = "bias"});
    config.buckets.bucket_bytes = 512;  // three buckets or more
    optimizer = std::make_unique<ShardedOptimizer>(*backend, communicator, pointers(parameters), std::move(config));
    optimizer->initialize(/*seed=*/7);
    sums = backend->allocate_tensor(DType::fp32, Shape{3}, MemoryKind::input);
    stream = backend->make_stream("compute");
  }

  static std::vector<Parameter> make_parameters() {
    std::vector<Parameter> made(4);
    made[0].name = "conv";
    made[0].shape = Shape{3, 7, 5};
    made[0].layout.order = {2, 0, 1};
    made[1].name = "norm";
    made[1].shape = Shape{5};
    made[1].keep_fp32 = true;
    made[1].decay = false;
    made[2].name = "fc";
    made[2].shape = Shape{130, 3};
    made[3].name = "bias";
    made[3].shape = Shape{1};
    made[3].group = "bias";
    for (Parameter& parameter : made) parameter.initializer = Initializer::normal(1);
    return made;
  }
  static std::vector<Parameter*> pointers(std::vector<Parameter>& parameters) {
    std::vector<Parameter*> all;
    for (Parameter& parameter : parameters) all.push_back(&parameter);
    return all;
  }

  /// What a step says besides gradients.
  struct Step {
    float weight = 1;
    HostReport report;
    std::vector<int> without_gradient = {};  ///< parameters whose gradient never becomes ready
  };

  const StepState& step(const GradientOf& gradient, const Step& what) {
    optimizer->begin_step(*stream);
    for (const Parameter& parameter : parameters) optimizer->before_use(parameter, *stream);
    stream->enqueue([this] { seen = stored(&Parameter::weight); });
    stream->enqueue([this, &what] {
      sums.span<float>()[0] = 3;
      sums.span<float>()[1] = what.weight;
      sums.span<float>()[2] = 2;
    });
    for (int p = static_cast<int>(parameters.size()) - 1; p >= 0; --p) {
      if (std::find(what.without_gradient.begin(), what.without_gradient.end(), p) != what.without_gradient.end()) continue;
      const Parameter& parameter = parameters[static_cast<std::size_t>(p)];
      stream->enqueue([&parameter, &gradient, p] { fill(parameter.gradient, [&](std::int64_t i) { return gradient(p, i); }); });
      optimizer->gradient_ready(parameter, *stream);
    }
    const TensorView all = sums.view();
    optimizer->finish_step(*stream, all.slice(0, 1), all.slice(1, 2), all.slice(2, 3), what.report);
    optimizer->drain();
    return optimizer->state();
  }
  const StepState& step(const GradientOf& gradient) { return step(gradient, Step{}); }

  /// All arrays of all parameters, as a checkpoint would hold them. Collective.
  std::vector<std::vector<float>> arrays() {
    std::vector<std::vector<float>> all;
    for (const std::string& array : optimizer->array_names()) {
      for (const Parameter& parameter : parameters) all.push_back(optimizer->gather_array(array, parameter));
    }
    return all;
  }
  void set_arrays(const std::vector<std::vector<float>>& all) {
    std::size_t at = 0;
    for (const std::string& array : optimizer->array_names()) {
      for (const Parameter& parameter : parameters) optimizer->set_array(array, parameter, all[at++]);
    }
  }
  /// Weights or gradients as stored, padding behind each parameter included.
  std::vector<std::vector<float>> stored(TensorView Parameter::*member) const {
    std::vector<std::vector<float>> all;
    for (const Parameter& parameter : parameters) {
      const TensorView& view = parameter.*member;
      std::vector<float>& values = all.emplace_back();
      dispatch_floating(view.dtype(), [&](auto type) {
        const auto* data = view.data<decltype(type)>();
        for (std::int64_t i = 0; i < round_up(view.elements(), 64); ++i) values.push_back(to_float(data[i]));
      });
    }
    return all;
  }

  static void fill(const TensorView& view, const std::function<float(std::int64_t)>& value) {
    dispatch_floating(view.dtype(), [&](auto type) {
      auto* data = view.data<decltype(type)>();
      for (std::int64_t i = 0; i < view.elements(); ++i) data[i] = round_to<decltype(type)>(value(i));
    });
  }

  Communicator& communicator;
  std::unique_ptr<Backend> backend;
  std::vector<Parameter> parameters;
  std::unique_ptr<ShardedOptimizer> optimizer;
  Tensor sums;
  std::vector<std::vector<float>> seen;  ///< weights as forward saw them in the last step
  std::unique_ptr<Stream> stream;        ///< last: emptied before what its kernels use goes away
};

/// Any number, the same in every run.
inline float rough_gradient(int rank, int parameter, std::int64_t element, int step) {
  return static_cast<float>(std::sin(static_cast<double>(element * 31 + parameter * 17 + rank * 7 + step * 3 + 1)) * 100);
}

/// A scale that stays, for updates that can be compared.
inline OptimizerConfig constant_scale(float scale, UpdateRule rule = SgdRule{}) {
  OptimizerConfig config;
  config.rule = rule;
  config.loss_scale = {.mode = LossScaleMode::constant, .initial = scale};
  return config;
}

/// Plain gradient descent with rate 1: an update is the mean gradient itself.
inline OptimizerConfig plain(LossScaleConfig loss_scale = {}) {
  OptimizerConfig config;
  config.rule = SgdRule{.momentum = 0};
  config.schedule.base = 1;
  config.loss_scale = loss_scale;
  return config;
}

/// Runs `rank` on so many ranks and returns what rank 0 returns; the other ranks' results must be equal.
template <class Result>
Result same_on_all_ranks(int world_size, const std::function<Result(Communicator&)>& rank) {
  std::vector<Result> results(static_cast<std::size_t>(world_size));
  run_ranks(world_size,
            [&](Communicator& communicator) { results[static_cast<std::size_t>(communicator.rank())] = rank(communicator); });
  for (const Result& result : results) EXPECT_TRUE(result == results[0]);
  return results[0];
}

}  // namespace minim::testing

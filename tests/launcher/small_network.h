#pragma once

#include <cstdint>
#include <functional>

#include "minim/model/plan.h"
#include "minim/optimizer/sharded_optimizer.h"

namespace minim::testing {

inline constexpr std::int64_t kImageSize = 8;
inline constexpr int kClasses = 4;

/// Pixel `i` of the training image at stream position `sample`, a multiple of 1/16 in [-1, 1): exact in FP16.
float pixel(std::int64_t sample, std::int64_t i);

/// A convolution network without batch norm, so that a sample's gradient does not depend on its neighbours.
void build_network(Graph& graph);
/// Puts a softmax loss on `logits` and names its sums as the trainer looks for them.
void finish_network(Graph& graph, Value logits, Value labels);

/// Enqueues a copy to an input of a plan, from host memory that `write` fills and that goes when the copy has run.
void send(Backend& backend, Stream& stream, const TensorView& input, const std::function<void(const TensorView&)>& write);
/// Sends `valid` samples from stream position `first` on to "images", "labels" and "valid_samples"; zeros behind them.
void fill(Backend& backend, Stream& stream, const Plan& plan, std::int64_t first, std::int64_t valid);
/// Sets a tensor of the host, of any floating type, element by element.
void fill_floating(const TensorView& view, const std::function<float(std::int64_t)>& value);

/// SGD with momentum 0.9 at a constant rate, with a dynamic loss scale.
OptimizerConfig sgd(double learning_rate, float loss_scale = 1024.0F);

}  // namespace minim::testing

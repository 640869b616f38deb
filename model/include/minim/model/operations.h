#pragma once

#include <memory>

#include "minim/model/graph.h"
#include "minim/runtime/kernels/nonlinearity.h"

namespace minim {

/// The operations behind the functions of Graph, for graphs that bring their own parameters: shared weights, for example.
/// Parameters are given to Graph::add in the order stated.

/// Parameters: weight (logical [O, C / groups, KH, KW], physical OHWI), then bias [O] where `options.bias`.
std::unique_ptr<Operation> make_conv2d(Shape weight, Conv2dOptions options);
/// Parameters: weight (logical [C, O / groups, KH, KW] as PyTorch's, physical [C, KH, KW, O / groups]), then bias [O] where
/// `options.bias`.
std::unique_ptr<Operation> make_conv2d_transpose(Shape weight, Conv2dTransposeOptions options);
/// Parameters: weight [O, I], then bias [O] where `options.bias`.
std::unique_ptr<Operation> make_linear(Shape weight, LinearOptions options);
/// Inputs: x, then the addend where `addend`. Parameters: gamma [C], beta [C]. States: running mean [C], running variance [C].
std::unique_ptr<Operation> make_batch_norm(std::int64_t channels, BatchNormOptions options, bool addend = false);
/// Parameters: gamma [C], beta [C].
std::unique_ptr<Operation> make_layer_norm(std::int64_t channels, LayerNormOptions options);
/// Parameters: weight [V, D].
std::unique_ptr<Operation> make_embedding(Shape weight);
std::unique_ptr<Operation> make_relu();
std::unique_ptr<Operation> make_nonlinearity(Nonlinearity function);
std::unique_ptr<Operation> make_max_pool(PoolGeometry geometry);
std::unique_ptr<Operation> make_average_pool(PoolGeometry geometry, bool count_padding);
std::unique_ptr<Operation> make_global_average_pool();
std::unique_ptr<Operation> make_local_response_norm(ResponseWindow window);
std::unique_ptr<Operation> make_sum();
std::unique_ptr<Operation> make_concat();
std::unique_ptr<Operation> make_flatten();
std::unique_ptr<Operation> make_dropout(double rate);
/// Inputs: logits, labels and, where there are any, sample weights. Outputs: loss, weight, correct.
std::unique_ptr<Operation> make_softmax_cross_entropy(LossOptions options);

}  // namespace minim

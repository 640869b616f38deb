#pragma once

#include <span>
#include <string_view>

#include "minim/model/operation.h"

namespace minim::operations {

/// Checks of what an operation is given. All throw InvalidArgument with what was found and what was wanted.

void expect_inputs(std::span<const ValueSpec> inputs, std::size_t wanted);
/// Weights have the type of activations, so what is multiplied with them must have it, too.
void expect_activation(const ValueSpec& input);
void expect_floating(const ValueSpec& input);
void expect_integers(const ValueSpec& input);
/// `layout` spells the dimensions out: "[N, H, W, C]".
void expect_rank(const ValueSpec& input, int rank, std::string_view layout);
/// `fits`: whether the weight has the `wanted` shape, spelled out.
void expect_weight(const Shape& weight, bool fits, std::string_view wanted);
void expect_channels(std::int64_t found, std::int64_t wanted, std::string_view who_wants);

/// That there is such a window on one side of an image.
void expect_window(std::string_view side, std::int64_t window, std::int64_t stride, std::int64_t padding, std::int64_t dilation);
/// Size along one side of what a window leaves of an image; throws where it does not fit.
std::int64_t window_output(const Shape& image, std::string_view side, std::int64_t size, std::int64_t window, std::int64_t stride,
                           std::int64_t padding, std::int64_t dilation = 1);

}  // namespace minim::operations

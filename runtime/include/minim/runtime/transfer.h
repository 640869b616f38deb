#pragma once

#include <span>

#include "minim/runtime/backend.h"

namespace minim {

/// Copies FP32 values to a tensor in any memory of the backend's device, rounded to its type (fp32, fp16 or bf16). As many as it
/// has elements. As `Backend::copy`: synchronous, for set-up and checkpoints. Throws InvalidArgument for other types or counts.
void upload(Backend& backend, std::span<const float> values, TensorView to);

/// Copies a tensor of fp32, fp16 or bf16 from any memory of the backend's device to as many FP32 values.
void download(Backend& backend, ConstTensorView from, std::span<float> values);

}  // namespace minim

#pragma once

#include "minim/runtime/backend.h"

namespace minim {

/// A step of the exponential moving average of weights, average += (1 - decay) * (weight - average) in FP32, unless the state
/// says that the step is not applied. The same bits on every backend.
struct AverageWeights {
  double decay = 0;
  ConstTensorView weight;  ///< [n], fp32: master weights, or weights that are their own master
  TensorView average;      ///< [n], fp32
  ConstTensorView state;   ///< StepState as uint8 bytes
};

/// Throws InvalidArgument where arrays and types do not fit each other.
void check(const AverageWeights& args);

/// Adds the kernel to a backend where it is missing.
void add_average_kernel(Backend& backend);

}  // namespace minim

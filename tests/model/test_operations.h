#pragma once

#include <functional>
#include <string>
#include <vector>

#include "minim/model/graph.h"

namespace minim::test {

/// y += or = x, element by element. A kernel of the test's own.
struct AddInto {
  ConstTensorView x;
  TensorView y;
  bool accumulate = false;
};

/// loss = sum of c * y, in FP64.
struct ProbeForward {
  ConstTensorView y;
  ConstTensorView c;
  TensorView loss;  ///< [1], fp32
  bool accumulate = false;
};

/// dy = c * loss scale / nominal weight.
struct ProbeBackward {
  ConstTensorView c;
  ConstTensorView loss_scale;
  TensorView dy;
  double nominal_weight = 1;
};

/// Adds the kernels above to a backend.
void add_test_kernels(Backend& backend);

/// A value that is a parameter: its gradient can be looked at as dLoss/d(value). `shape` may hold Shape::kBatch, for `batch`.
Value source(Graph& graph, const std::string& name, Shape shape, std::int64_t batch);

/// A loss that is linear in y, with coefficients from the input `name` + ".c"; its value is the output `name`.
void probe(Graph& graph, const std::string& name, Value y);

}  // namespace minim::test

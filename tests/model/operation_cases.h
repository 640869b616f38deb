#pragma once

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "model/bound_plan.h"
#include "model/test_operations.h"

namespace minim::test {

/// One use of one operation, between sources and a probe, for tests that hold for every operation.
struct OperationCase {
  std::string name;
  std::vector<Shape> inputs;  ///< with Shape::kBatch
  std::int64_t batch = 1;
  std::function<Value(Graph&, const std::vector<Value>&)> build;
  int terms = 1;        ///< of the longest sum that an element of a result or gradient is
  bool kinked = false;  ///< piecewise linear in each number: differences must stay on one side of a kink
  /// What rounding on the way may cost a result or gradient, in units of the format: the magnitude of what is rounded times the
  /// derivative by it.
  double rounded_before = 0;
};

std::vector<OperationCase> operation_cases();
inline std::ostream& operator<<(std::ostream& out, const OperationCase& c) { return out << c.name; }

/// A case compiled and filled: all parameters and coefficients hold numbers in [-1, 1) that every precision holds exactly.
class RunningCase {
 public:
  RunningCase(const OperationCase& operation, Backend& backend, Precision precision);

  void step() { bound_->step(); }
  /// Sum of c * y after a forward pass, in FP64, and the sum of the magnitudes.
  struct Sums {
    double value = 0, magnitude = 0;
  };
  Sums forward();

  const Model& model() const { return model_; }
  std::vector<float> y() { return bound_->get("y"); }

 private:
  Model model_;
  Graph graph_;
  std::unique_ptr<ParameterMemory> memory_;
  std::unique_ptr<BoundPlan> bound_;
};

}  // namespace minim::test

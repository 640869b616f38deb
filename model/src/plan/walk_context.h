#pragma once

#include "plan/walk.h"

namespace minim {

/// What one operation sees in one pass of a walk.
class Walk::Context final : public PlanContext {
 public:
  Context(Walk& walk, Site site) : walk_(walk), site_(std::move(site)), node_(walk.node(site_.node)) {}

  std::string_view name() const override { return node_.name; }
  bool training() const override { return walk_.graph_.mode() == Graph::Mode::training; }
  int inputs() const override { return static_cast<int>(node_.inputs.size()); }
  ConstTensorView input(int i) override { return walk_.view(walk_.value(input_value(i))); }
  TensorView output(int i) override { return walk_.view(walk_.value(output_value(i))); }
  ConstTensorView weight(int i) override { return walk_.view(walk_.weight(parameter(i))); }
  const State& state(int i) override;
  TensorView saved(int slot, DType dtype, Shape shape) override;
  ConstTensorView valid_samples(int i) override;
  ConstTensorView shared_input(std::string_view name) override;
  TensorView output_gradient(int i) override;
  TensorView input_gradient(int i) override;
  void pass_gradient(int input, int output) override;
  TensorView weight_gradient(int i) override;
  ConstTensorView loss_scale() override;
  double nominal_weight() const override { return walk_.options_.nominal_weight; }
  int ranks() const override { return walk_.options_.ranks; }
  int rank() const override { return walk_.options_.rank; }
  void all_gather(TensorView data, std::string_view what) override;
  RandomKey random_key() override;

 private:
  const Backend& backend() const override { return walk_.backend_; }
  void emit_erased(const ErasedKernel& kernel) override { walk_.add_kernel(site_, kernel); }

  Value input_value(int i) const;
  Value output_value(int i) const;
  const Parameter& parameter(int i) const;
  [[noreturn]] void fail(const std::string& why) const;
  void expect_backward(std::string_view what) const;

  Walk& walk_;
  Site site_;
  const Graph::Node& node_;
};

}  // namespace minim

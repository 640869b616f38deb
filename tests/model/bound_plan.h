#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "minim/model/plan.h"

namespace minim::test {

/// Elements as floats, whatever they are stored as.
std::vector<float> floats(const ConstTensorView& view);
/// Rounds `values` to the elements of `view`; as many as there are.
void assign(const TensorView& view, std::span<const float> values);
/// `count` numbers in [-1, 1) that depend on `seed` alone: multiples of 2^-7, which FP32, FP16 and BF16 hold alike.
std::vector<float> numbers(std::int64_t count, std::uint32_t seed);

/// A backend of reference kernels whose memory holds NaN until it is written, and again after `poison`.
class PoisonedBackend final : public Backend {
 public:
  PoisonedBackend();
  std::string_view name() const override { return "poisoned"; }
  Buffer allocate(std::int64_t size_bytes, MemoryKind kind) override;
  std::unique_ptr<Stream> make_stream(std::string name) override { return make_cpu_stream(std::move(name), 1); }
  void copy(TensorView to, ConstTensorView from) override;

  /// Fills everything allocated as `kind` with NaN. Nothing allocated may have been freed.
  void poison(MemoryKind kind);

 private:
  struct Block {
    void* data;
    std::int64_t size_bytes;
    MemoryKind kind;
  };
  std::vector<Block> blocks_;
};

/// Memory for all parameters and states of a model, as an optimizer and a trainer would place it.
class ParameterMemory {
 public:
  ParameterMemory(Model& model, Backend& backend, Precision precision, std::uint64_t seed = 1);

  ConstTensorView loss_scale() const { return loss_scale_; }
  void set_loss_scale(float scale) { assign(loss_scale_, std::vector{scale}); }

 private:
  std::vector<Tensor> tensors_;
  Tensor loss_scale_;
};

/// A plan with a stream of its own.
class BoundPlan {
 public:
  BoundPlan(const Graph& graph, Backend& backend, const ParameterMemory& memory, const CompileOptions& options,
            const Plan* arena_owner = nullptr);

  Plan& plan() { return *plan_; }
  Plan* operator->() { return plan_.get(); }
  void set(const std::string& input, std::span<const float> values) { assign(plan_->input(input), values); }
  /// Images, labels, all samples valid and, where wanted, their numbers: everything that a classifier of the zoo reads.
  void set_images(std::uint32_t seed, int classes);
  std::vector<float> get(const std::string& output) { return floats(plan_->output(output)); }

  void forward(bool accumulate = false, PlanObserver* observer = nullptr);
  void backward(bool accumulate = false, PlanObserver* observer = nullptr);
  void step() { forward(), backward(); }

 private:
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<Plan> plan_;
};

/// Their gradients, one after the other.
std::vector<float> gradients(std::span<Parameter* const> parameters);

}  // namespace minim::test

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "minim/model/graph.h"
#include "minim/runtime/precision.h"

namespace minim {

/// Activations, or the gradient of activations, that a plan's kernels complete. The same object in every pass of a bound plan.
struct CompletedTensor {
  const Graph::Node* node = nullptr;  ///< whose output it is, or whose output's gradient
  int output = 0;
  /// Where the node ends in an activation function, this gradient is the one in front of that.
  bool is_gradient = false;
  ConstTensorView tensor;         ///< kernels after this place may write over it
  ConstTensorView valid_samples;  ///< [1], int32: so many of the first dimension count; absent: all
};

/// Is told about parameters and activations while a plan's kernels are being enqueued, so that communication can be put around
/// them, and looks at them.
class PlanObserver {
 public:
  virtual ~PlanObserver() = default;
  /// The kernels enqueued from here on read this parameter's weight. Called at least before its first use in each pass.
  virtual void before_use(const Parameter& parameter, Stream& stream) = 0;
  /// The kernel enqueued last was the last of this pass to write this parameter's gradient.
  virtual void gradient_ready(const Parameter& parameter, Stream& stream) = 0;
  /// The kernels enqueued so far have completed these activations, or their gradient as backward of the node reads it. Not called
  /// for what is the same memory in another shape, and for what no kernel needs.
  virtual void completed(const CompletedTensor& /*tensor*/, Stream& /*stream*/) {}
  /// The kernels enqueued so far have written this rank's slice of `data`, [ranks, ...]; those that follow read the slices of all
  /// ranks. All ranks gather in the same order. `label` names it in errors. Throws InvalidArgument unless overridden.
  virtual void all_gather(TensorView data, const std::string& label, Stream& stream);
};

struct CompileOptions {
  Precision precision = Precision::mixed;
  std::int64_t batch = 1;
  double nominal_weight = 1;  ///< n0: one rank's loss weight per step over all its micro-batches
  std::uint64_t seed = 0;     ///< of dropout
  /// Which parameters get gradients; null: all. Of training graphs only.
  std::function<bool(const Parameter&)> trainable = {};
  /// Ranks that share what operations gather: batch normalisation then takes its statistics over the samples of all of them. They
  /// run the plan at the same time, each with an observer that gathers. 1: a plan of this rank alone.
  int ranks = 1;
  int rank = 0;              ///< which of them this one is
  bool reuse_memory = true;  ///< false: every tensor keeps a place of its own until the pass ends, for looking at them
};

/// Bytes that a plan's own arena needs, by purpose. Weights, gradients and optimizer state belong to others.
struct PlanMemory {
  std::int64_t activations_bytes = 0;        ///< activations, saved tensors and activation gradients, with reuse
  std::int64_t workspace_bytes = 0;          ///< scratch of kernels; one block that all share
  std::int64_t unknown_workspace_bytes = 0;  ///< of it, what is there only for kernels whose scratch is not known
  std::int64_t input_bytes = 0;              ///< inputs and outputs, which keep their place
};

struct OperationCost {
  std::string name;  ///< of the operation
  std::string type;
  std::string kernel;      ///< argument type
  std::string kernel_set;  ///< "cpu" or, where there is no fast kernel, "reference"
  bool backward = false;
  double flops = 0;
  std::int64_t bytes = 0;  ///< of all tensors that it reads and writes, each once
  WorkspaceSize workspace = 0;
  std::vector<const Parameter*> used_first;      ///< weights that no kernel of the pass before reads
  std::vector<const Parameter*> gradient_ready;  ///< gradients that no kernel of the pass after writes
};

/// A graph compiled for a backend, a batch size and a precision: a flat list of kernel calls at fixed addresses.
/// `compile` needs no memory, so that a plan's figures are known before a run; `bind` places it. A step allocates nothing.
class Plan {
 public:
  /// Throws InvalidArgument when an operation breaks its contract or a training graph has no loss. `graph` and `backend` must
  /// outlive the plan.
  static std::unique_ptr<Plan> compile(const Graph& graph, Backend& backend, const CompileOptions& options);
  ~Plan();

  const PlanMemory& memory() const;
  const std::vector<OperationCost>& costs() const;
  const CompileOptions& options() const;

  /// Allocates the arena and prepares all kernels. Every parameter must have its weight, and its gradient where it is trained.
  /// `loss_scale`: [1], fp32, read by the losses; training plans only. `arena_owner`: a bound plan that never runs at the same
  /// time and whose arena and workspace are shared where they are large enough.
  void bind(ConstTensorView loss_scale, const Plan* arena_owner = nullptr);

  /// Device memory of a named input or output, filled and read by copies on a stream; keeps its address. Throws InvalidArgument
  /// for an unknown name.
  TensorView input(const std::string& name) const;
  TensorView output(const std::string& name) const;
  bool has_input(const std::string& name) const;

  /// Enqueues all kernels of a pass. `accumulate`: losses (forward) or gradients (backward) add to what is there, as every
  /// micro-batch but the first does.
  void forward(Stream& stream, bool accumulate = false, PlanObserver* observer = nullptr) const;
  void backward(Stream& stream, bool accumulate = false, PlanObserver* observer = nullptr) const;
  /// Whether a pass gathers from other ranks, so that none may leave one out.
  bool gathers() const;

  /// Parameters that get gradients in this plan.
  const std::vector<Parameter*>& trained() const;

 private:
  struct Impl;
  explicit Plan(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Allocates committed and pending tensors of all states of a model that have none, and fills them with their initial values.
/// What is placed together lies in the order of the model, each on a multiple of kAlignmentBytes. The model keeps the memory.
void place_states(Model& model, Backend& backend);
/// What that takes when none is placed.
std::int64_t state_bytes(const Model& model);

}  // namespace minim

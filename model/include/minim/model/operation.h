#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <typeinfo>
#include <vector>

#include "minim/model/kernel_arguments.h"
#include "minim/runtime/backend.h"
#include "minim/runtime/kernels/activation.h"
#include "minim/runtime/kernels/elementwise.h"
#include "minim/runtime/parameter.h"

namespace minim {

/// What a value of a graph is stored as; `activation` is decided by the precision that the graph is compiled for.
enum class ElementType : std::uint8_t { activation, fp32, int32, int64, uint8 };

struct ValueSpec {
  Shape shape;
  ElementType element = ElementType::activation;
};

/// A kernel that an operation emits, with the type of its arguments erased.
struct ErasedKernel {
  const std::type_info* arguments = nullptr;
  std::string_view kernel_set;
  WorkspaceSize workspace = 0;
  double flops = 0;
  std::vector<ConstTensorView> reads;   ///< all that are present
  std::vector<ConstTensorView> writes;  ///< all that are present; a kernel may read these, too
  bool can_accumulate = false;
  TensorView gathered;       ///< present: no kernel, but a gathering of this tensor from all ranks
  std::string gather_label;  ///< names it in errors
  /// Makes the call. May be called any number of times, but only until PlanContext::emit_erased returns.
  std::function<std::unique_ptr<KernelCall>(bool accumulate, TensorView workspace)> prepare;
};

/// What an operation may look at and emit while a plan is made. A plan visits every operation twice: first to learn which tensors
/// each kernel touches and how much scratch it wants, with views that point nowhere; then, with memory assigned, to prepare the
/// kernels. An operation does the same both times and reads no data.
class PlanContext {
 public:
  virtual ~PlanContext() = default;

  virtual std::string_view name() const = 0;  ///< of the operation
  virtual bool training() const = 0;

  virtual int inputs() const = 0;
  virtual ConstTensorView input(int i) = 0;   ///< in backward: keeps the input alive until then
  virtual TensorView output(int i) = 0;       ///< in backward: keeps the output alive until then
  virtual ConstTensorView weight(int i) = 0;  ///< parameter i, physical shape
  virtual const State& state(int i) = 0;
  /// A tensor that forward writes and backward reads, such as saved statistics, or scratch of one pass alone.
  /// The same `slot` is the same tensor.
  virtual TensorView saved(int slot, DType dtype, Shape shape) = 0;
  /// The count of valid samples of input i, absent when all count.
  virtual ConstTensorView valid_samples(int i) = 0;
  /// An input of the graph that operations share, by name ("attempted_step", "sample_ids").
  virtual ConstTensorView shared_input(std::string_view name) = 0;

  // Backward only.

  /// dLoss/d(output i), scaled; absent when nothing downstream depends on it.
  virtual TensorView output_gradient(int i) = 0;
  /// Where dLoss/d(input i) goes; absent when nobody wants it. To be overwritten.
  virtual TensorView input_gradient(int i) = 0;
  /// Says that the gradient of input i is that of output o, reshaped: no kernel, no memory.
  virtual void pass_gradient(int input, int output) = 0;
  /// Where the gradient of parameter i goes; absent when it is not trained in this plan. Kernels obey `accumulate`, see emit().
  virtual TensorView weight_gradient(int i) = 0;
  virtual ConstTensorView loss_scale() = 0;   ///< [1], fp32: S
  virtual double nominal_weight() const = 0;  ///< n0 of the losses

  /// Adds a kernel to the plan. Which memory it touches follows from the types of its members: a ConstTensorView is read, a
  /// TensorView written; see for_each_tensor for what `Args` may be. `args.workspace`, where there is one, is filled in. Where
  /// args has a member `accumulate`, the plan keeps two calls: one that overwrites and one that adds, for the micro-batches of a
  /// step and for parameters used repeatedly. A kernel that writes a parameter's gradient must have it.
  template <class Args>
  void emit(Args args, double flops = 0);

  /// Ranks that run the same plan at the same time and whose operations may gather; 1 where they are to keep to themselves.
  virtual int ranks() const = 0;
  virtual int rank() const = 0;  ///< which of them this one is
  /// From here on `data`, [ranks, ...] and contiguous, has every rank's slice: rank r has written data[r]. `what` names it in
  /// errors, beside the operation.
  virtual void all_gather(TensorView data, std::string_view what) = 0;

  /// Philox key of an operation, for dropout and the like.
  virtual RandomKey random_key() = 0;

 protected:
  virtual const Backend& backend() const = 0;
  virtual void emit_erased(const ErasedKernel& kernel) = 0;
};

/// A node's behaviour: everything about one type of operation in one place. Operations are immutable.
class Operation {
 public:
  virtual ~Operation() = default;

  virtual std::string_view type() const = 0;  ///< "conv2d"
  /// Shapes and types of the outputs. The batch dimension may be Shape::kBatch and is passed on.
  /// Throws InvalidArgument with a text that continues `conv2d "name": `.
  virtual std::vector<ValueSpec> infer(std::span<const ValueSpec> inputs) const = 0;
  virtual void forward(PlanContext& context) const = 0;
  /// Emits the gradients of inputs and parameters. Called only where some gradient is wanted.
  virtual void backward(PlanContext& context) const = 0;
  /// What forward applies to output 0 last. The gradient of output 0 that backward is given is that in front of it.
  virtual Activation activation() const { return Activation::none; }
  /// Whether output 0 may be written over input 0 when nobody needs that any more.
  virtual bool in_place() const { return false; }
  /// Whether the gradient of input 0 may be written over that of output 0 when nobody needs that any more.
  virtual bool backward_in_place() const { return in_place(); }
  /// Whether output 0 is input 0 in another shape: no kernel, the same memory.
  virtual bool is_view() const { return false; }
  /// Whether the operation starts backward by itself: a loss.
  virtual bool is_loss() const { return false; }
  /// Whether it draws random numbers in training: the graph then has the inputs of a RandomKey.
  virtual bool is_random() const { return false; }
};

// Implementation.

template <class Args>
void PlanContext::emit(Args args, double flops) {
  ErasedKernel kernel;
  kernel.arguments = &typeid(Args);
  kernel.kernel_set = backend().template kernel_set<Args>();
  kernel.workspace = backend().workspace(args);
  kernel.flops = flops;
  kernel.can_accumulate = requires { args.accumulate; };
  if constexpr (requires { args.accumulate; }) {
    // The plan makes both calls, and one that adds may want scratch that one that overwrites does not.
    Args adding = args;
    adding.accumulate = true;
    const WorkspaceSize other = backend().workspace(adding);
    kernel.workspace = {std::max(kernel.workspace.size_bytes, other.size_bytes), kernel.workspace.is_known && other.is_known};
  }
  for_each_tensor(args, [&kernel]<class View>(View& view) {
    if (view.present()) (std::is_same_v<std::remove_const_t<View>, TensorView> ? kernel.writes : kernel.reads).push_back(view);
  });
  kernel.prepare = [this, &args](bool accumulate, TensorView workspace) {
    if constexpr (requires { args.accumulate; }) args.accumulate = accumulate;
    if constexpr (requires { args.workspace; }) args.workspace = workspace;
    return backend().prepare(args);
  };
  emit_erased(kernel);
}

}  // namespace minim

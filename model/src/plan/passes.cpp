#include "plan/passes.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "minim/runtime/error.h"

namespace minim {

namespace {

using Kind = Storage::Kind;

class Binder final : public Walk {
 public:
  Binder(const Graph& graph, const Backend& backend, const CompileOptions& options, const Recording& recording,
         const MemoryMap& map, const Blocks& blocks, ConstTensorView loss_scale)
      : Walk(graph, backend, options),
        graph_(graph),
        backend_(backend),
        recording_(recording),
        map_(map),
        blocks_(blocks),
        loss_scale_(loss_scale) {}

  Passes take() {
    if (next_ != recording_.kernels.size()) throw_changed("the plan");
    return std::move(passes_);
  }

 private:
  void* address(int id) override {
    const Storage& s = storage(id);
    switch (s.kind) {
      case Kind::weight: return s.parameter->weight.raw();
      case Kind::gradient: return s.parameter->gradient.raw();
      case Kind::committed_state: return s.state->committed.raw();
      case Kind::pending_state: return s.state->pending.raw();
      case Kind::loss_scale: return const_cast<void*>(loss_scale_.raw());
      case Kind::arena:
      case Kind::pinned: break;
    }
    const auto index = static_cast<std::size_t>(id);
    if (index >= recording_.storages.size() || recording_.storages[index].size_bytes != s.size_bytes)
      throw_changed("an operation");
    // A tensor that no live kernel touches has no place; it goes to kernels that are dropped.
    if (map_.offsets_bytes[index] < 0) return nullptr;
    return (s.kind == Kind::pinned ? blocks_.pinned : blocks_.arena) + map_.offsets_bytes[index];
  }

  void add_kernel(const Site& site, const ErasedKernel& kernel) override {
    if (next_ >= recording_.kernels.size()) throw_changed("an operation");
    const KernelRecord& record = recording_.kernels[next_++];
    if (record.node != site.node || record.backward != site.backward) throw_changed("an operation");
    if (!record.live) return;

    last_live_ = next_ - 1;
    for (const int gradient : record.zero_first) add_zero(gradient);
    TensorView workspace;
    const std::int64_t workspace_bytes = kernel.workspace.size_bytes;
    if (workspace_bytes > 0) workspace = {blocks_.workspace, DType::uint8, Shape{workspace_bytes}};
    Step step;
    auto& pass = record.backward ? passes_.backward : passes_.forward;
    step.cost = live_++;
    if (record.gathers) {
      step.gathered = kernel.gathered;
      step.gather_label = kernel.gather_label;
      pass.push_back(std::move(step));
      return;
    }
    // In forward only the sums of a loss run on from one micro-batch to the next; in backward, gradients of parameters.
    const bool accumulates =
        record.can_accumulate &&
        (record.backward ? writes_gradient(record) : graph_.nodes()[static_cast<std::size_t>(record.node)].operation->is_loss());
    step.calls[0] = keep(kernel.prepare(record.always_accumulates, workspace));
    const bool same_call = accumulates == record.always_accumulates;
    step.calls[1] = same_call ? step.calls[0] : keep(kernel.prepare(accumulates, workspace));
    step.used_first = first_weight_uses(recording_, next_ - 1);
    step.gradient_ready = completed_gradients(recording_, next_ - 1);
    pass.push_back(std::move(step));
  }

  void complete(const Site& site, int output, const Slot& tensor) override {
    const Graph::Node& node = graph_.nodes()[static_cast<std::size_t>(site.node)];
    const Value value = node.outputs[static_cast<std::size_t>(output)];
    if (graph_.spec(value).element != ElementType::activation || (output == 0 && node.operation->is_view())) return;
    auto& pass = site.backward ? passes_.backward : passes_.forward;
    if (pass.empty() || !is_there(tensor.storage)) return;
    const auto count = graph_.valid_samples(value);
    pass.back().completed.push_back(
        {.node = &node,
         .output = output,
         .is_gradient = site.backward,
         .tensor = view(tensor),
         .valid_samples = count ? view(values()[static_cast<std::size_t>(count->id)]) : ConstTensorView{}});
  }

  /// Whether the memory still belongs to the storage when the last kernel so far has run: it or a later one touches it.
  bool is_there(int storage) const {
    const auto from = std::span(recording_.kernels).subspan(last_live_);
    return std::ranges::any_of(from, [storage](const KernelRecord& kernel) {
      return kernel.live && (std::ranges::count(kernel.reads, storage) != 0 || std::ranges::count(kernel.writes, storage) != 0);
    });
  }

  /// The kernel that follows adds to this gradient, which a pass that overwrites must have cleared.
  void add_zero(int gradient) {
    const Parameter& parameter = *recording_.storages[static_cast<std::size_t>(gradient)].parameter;
    Step step;
    step.calls[0] = keep(backend_.prepare(Zero{.y = parameter.gradient}));
    passes_.backward.push_back(std::move(step));
  }

  const KernelCall* keep(std::unique_ptr<KernelCall> call) { return passes_.calls.emplace_back(std::move(call)).get(); }

  bool writes_gradient(const KernelRecord& record) const {
    return std::ranges::any_of(record.writes, [this](int s) { return is(s, Kind::gradient); });
  }

  bool is(int s, Kind kind) const { return recording_.storages[static_cast<std::size_t>(s)].kind == kind; }

  [[noreturn]] static void throw_changed(std::string_view who) {
    throw InvalidArgument(
        fmt::format("{} asks for other tensors or kernels than when it was compiled; operations must repeat themselves", who));
  }

  const Graph& graph_;
  const Backend& backend_;
  const Recording& recording_;
  const MemoryMap& map_;
  Blocks blocks_;
  ConstTensorView loss_scale_;
  std::size_t next_ = 0;
  int live_ = 0;  // kernels that are not dropped, so far
  std::size_t last_live_ = 0;
  Passes passes_;
};

void check_placed(std::string_view what, const std::string& name, const ConstTensorView& found, const Slot& wanted) {
  if (found.present() && found.dtype() == wanted.dtype && found.shape() == wanted.shape &&
      (found.raw() != nullptr || found.elements() == 0)) {
    return;
  }
  throw InvalidArgument(fmt::format("{} of \"{}\" {}, the plan wants {} of shape {}", what, name,
                                    found.present()
                                        ? fmt::format("is {} of shape {}", minim::name(found.dtype()), found.shape().to_string())
                                        : std::string("has no memory"),
                                    minim::name(wanted.dtype), wanted.shape.to_string()));
}

/// Everything that lies outside the plan must be there before its kernels are prepared.
void check_external(const Recording& recording, const CompileOptions& options, ConstTensorView loss_scale) {
  for (const Storage& storage : recording.storages) {
    const auto wanted = [&] {
      const Parameter& p = *storage.parameter;
      return Slot{-1, p.keep_fp32 ? DType::fp32 : compute_dtype(options.precision), physical_shape(p.shape, p.layout)};
    };
    switch (storage.kind) {
      case Kind::weight: check_placed("the weight", storage.parameter->name, storage.parameter->weight, wanted()); break;
      case Kind::gradient: check_placed("the gradient", storage.parameter->name, storage.parameter->gradient, wanted()); break;
      case Kind::committed_state:
        check_placed("the committed state", storage.state->name, storage.state->committed,
                     {-1, DType::fp32, storage.state->shape});
        break;
      case Kind::pending_state:
        check_placed("the pending state", storage.state->name, storage.state->pending, {-1, DType::fp32, storage.state->shape});
        break;
      case Kind::loss_scale: check_placed("the value", "loss scale", loss_scale, {-1, DType::fp32, Shape{1}}); break;
      case Kind::arena:
      case Kind::pinned: break;
    }
  }
}

}  // namespace

Passes prepare_passes(const Graph& graph, const Backend& backend, const CompileOptions& options, const Recording& recording,
                      const MemoryMap& map, const Blocks& blocks, ConstTensorView loss_scale) {
  check_external(recording, options, loss_scale);
  Binder binder(graph, backend, options, recording, map, blocks, loss_scale);
  binder.run();
  return binder.take();
}

}  // namespace minim

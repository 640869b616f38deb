#include "minim/model/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "minim/runtime/error.h"
#include "plan/memory_map.h"
#include "plan/passes.h"
#include "plan/recording.h"

namespace minim {

struct Plan::Impl {
  const Graph* graph = nullptr;
  Backend* backend = nullptr;
  CompileOptions options;
  Recording recording;
  MemoryMap map;
  std::vector<OperationCost> costs;
  std::vector<Parameter*> trained;

  std::shared_ptr<Buffer> arena, workspace, pinned;
  bool bound = false;
  Passes passes;

  TensorView named(std::string_view kind, const std::vector<Graph::NamedValue>& all, const std::string& name) const;
  void expect_bound() const;
};

namespace {

std::vector<OperationCost> list_costs(const Graph& graph, const Recording& recording) {
  std::vector<OperationCost> costs;
  for (std::size_t k = 0; k < recording.kernels.size(); ++k) {
    const KernelRecord& kernel = recording.kernels[k];
    if (!kernel.live) continue;
    const Graph::Node& node = graph.nodes()[static_cast<std::size_t>(kernel.node)];
    costs.push_back({.name = node.name,
                     .type = std::string(node.operation->type()),
                     .kernel = kernel.name,
                     .kernel_set = kernel.kernel_set,
                     .backward = kernel.backward,
                     .flops = kernel.flops,
                     .bytes = kernel.bytes,
                     .workspace = kernel.workspace,
                     .used_first = first_weight_uses(recording, k),
                     .gradient_ready = completed_gradients(recording, k)});
  }
  return costs;
}

std::vector<Parameter*> list_trained(const Graph& graph, const Recording& recording) {
  std::vector<Parameter*> trained;
  for (const auto& parameter : graph.model().parameters()) {
    const bool has_gradient = std::ranges::any_of(recording.storages, [&](const Storage& storage) {
      return storage.kind == Storage::Kind::gradient && storage.parameter == parameter.get();
    });
    if (has_gradient) trained.push_back(parameter.get());
  }
  return trained;
}

void check(const Graph& graph, const CompileOptions& options) {
  if (options.ranks < 1 || options.rank < 0 || options.rank >= options.ranks) {
    throw InvalidArgument(fmt::format("rank {} of {}, wanted one of them", options.rank, options.ranks));
  }
  if (options.batch < 0) throw InvalidArgument(fmt::format("batch {}, wanted 0 or more", options.batch));
  if (graph.mode() != Graph::Mode::training) return;
  if (!(options.nominal_weight > 0)) {
    throw InvalidArgument(fmt::format("nominal weight {}, wanted more than 0", options.nominal_weight));
  }
  if (std::ranges::none_of(graph.nodes(), [](const Graph::Node& node) { return node.operation->is_loss(); })) {
    throw InvalidArgument("the training graph has no loss, wanted at least one");
  }
}

/// What `owner` has where that is enough, else memory of its own.
std::shared_ptr<Buffer> borrow_or_allocate(const std::shared_ptr<Buffer>& owned, Backend& backend, std::int64_t size_bytes,
                                           MemoryKind kind) {
  if (size_bytes == 0) return nullptr;
  if (owned && owned->size_bytes() >= size_bytes) return owned;
  return std::make_shared<Buffer>(backend.allocate(size_bytes, kind));
}

std::byte* begin(const std::shared_ptr<Buffer>& buffer) { return buffer ? static_cast<std::byte*>(buffer->data()) : nullptr; }

TraceLabel label_of(const Step& step, const std::vector<OperationCost>& costs) {
  if (step.cost < 0) return {.name = "gradient", .category = "backward", .type = "zero", .kernel = "Zero"};
  const OperationCost& cost = costs[static_cast<std::size_t>(step.cost)];
  return {.name = cost.name, .category = cost.backward ? "backward" : "forward", .type = cost.type, .kernel = cost.kernel};
}

void run(const std::vector<Step>& steps, const std::vector<OperationCost>& costs, Stream& stream, bool accumulate,
         PlanObserver* observer) {
  for (const Step& step : steps) {
    if (observer) {
      for (const Parameter* parameter : step.used_first) observer->before_use(*parameter, stream);
    }
    if (step.gathered.present()) {
      if (!observer) throw InvalidArgument("the plan gathers from other ranks: a pass needs an observer that does");
      observer->all_gather(step.gathered, step.gather_label, stream);
    }
    if (const KernelCall* call = step.calls[accumulate ? 1 : 0]) {
      traced(stream, label_of(step, costs), [&] { call->launch(stream); });
    }
    if (observer) {
      for (const Parameter* parameter : step.gradient_ready) observer->gradient_ready(*parameter, stream);
      for (const CompletedTensor& tensor : step.completed) observer->completed(tensor, stream);
    }
  }
}

}  // namespace

void PlanObserver::all_gather(TensorView /*data*/, const std::string& label, Stream& /*stream*/) {
  throw InvalidArgument(fmt::format("{}: the plan gathers from other ranks, its observer does not", label));
}

TensorView Plan::Impl::named(std::string_view kind, const std::vector<Graph::NamedValue>& all, const std::string& name) const {
  expect_bound();
  const auto found = std::ranges::find(all, name, &Graph::NamedValue::name);
  if (found == all.end()) throw InvalidArgument(fmt::format("the plan has no {} \"{}\"", kind, name));
  const Slot& slot = recording.values[static_cast<std::size_t>(found->value.id)];
  return {begin(pinned) + map.offsets_bytes[static_cast<std::size_t>(slot.storage)], slot.dtype, slot.shape};
}

void Plan::Impl::expect_bound() const {
  if (!bound) throw InvalidArgument("the plan has no memory yet: bind it first");
}

std::unique_ptr<Plan> Plan::compile(const Graph& graph, Backend& backend, const CompileOptions& options) {
  check(graph, options);
  auto impl = std::make_unique<Impl>();
  impl->graph = &graph;
  impl->backend = &backend;
  impl->options = options;
  impl->recording = record(graph, backend, impl->options);
  impl->map = map_memory(impl->recording, options.reuse_memory);
  impl->costs = list_costs(graph, impl->recording);
  impl->trained = list_trained(graph, impl->recording);
  return std::unique_ptr<Plan>(new Plan(std::move(impl)));
}

Plan::Plan(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Plan::~Plan() = default;

const PlanMemory& Plan::memory() const { return impl_->map.memory; }
const std::vector<OperationCost>& Plan::costs() const { return impl_->costs; }
const CompileOptions& Plan::options() const { return impl_->options; }
bool Plan::gathers() const {
  return std::ranges::any_of(impl_->recording.kernels, [](const KernelRecord& kernel) { return kernel.live && kernel.gathers; });
}
const std::vector<Parameter*>& Plan::trained() const { return impl_->trained; }

void Plan::bind(ConstTensorView loss_scale, const Plan* arena_owner) {
  Impl& plan = *impl_;
  const Impl* owner = arena_owner ? arena_owner->impl_.get() : nullptr;
  if (owner) owner->expect_bound();
  plan.bound = false;
  plan.passes = {};
  plan.arena = plan.workspace = plan.pinned = nullptr;
  const PlanMemory& memory = plan.map.memory;
  plan.arena =
      borrow_or_allocate(owner ? owner->arena : nullptr, *plan.backend, memory.activations_bytes, MemoryKind::activations);
  plan.workspace =
      borrow_or_allocate(owner ? owner->workspace : nullptr, *plan.backend, memory.workspace_bytes, MemoryKind::workspace);
  plan.pinned = borrow_or_allocate(nullptr, *plan.backend, memory.input_bytes, MemoryKind::input);
  plan.passes = prepare_passes(*plan.graph, *plan.backend, plan.options, plan.recording, plan.map,
                               {begin(plan.arena), begin(plan.workspace), begin(plan.pinned)}, loss_scale);
  plan.bound = true;
}

TensorView Plan::input(const std::string& name) const { return impl_->named("input", impl_->graph->inputs(), name); }
TensorView Plan::output(const std::string& name) const { return impl_->named("output", impl_->graph->outputs(), name); }

bool Plan::has_input(const std::string& name) const {
  return std::ranges::count(impl_->graph->inputs(), name, &Graph::NamedValue::name) != 0;
}

void Plan::forward(Stream& stream, bool accumulate, PlanObserver* observer) const {
  impl_->expect_bound();
  run(impl_->passes.forward, impl_->costs, stream, accumulate, observer);
}

void Plan::backward(Stream& stream, bool accumulate, PlanObserver* observer) const {
  impl_->expect_bound();
  run(impl_->passes.backward, impl_->costs, stream, accumulate, observer);
}

}  // namespace minim

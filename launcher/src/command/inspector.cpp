#include "command/inspector.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <tuple>

#include "minim/runtime/kernels/elementwise.h"
#include "minim/runtime/kernels/exponents.h"
#include "minim/runtime/transfer.h"

namespace minim::command {
namespace {

constexpr std::int64_t kBins = ExponentCounts::kBins;

/// Tensors that are counted at most: outputs and parameters, and the gradients of both.
std::int64_t most_counted(const Graph& graph) {
  auto tensors = static_cast<std::int64_t>(graph.model().parameters().size());
  for (const Graph::Node& node : graph.nodes()) tensors += static_cast<std::int64_t>(node.outputs.size());
  return 2 * tensors;
}

/// For the ranks that run `training`.
std::unique_ptr<Plan> compile(const RunConfig& config, const Graph& graph, Backend& backend, const Plan& training) {
  return Plan::compile(graph, backend,
                       {.precision = Precision::fp32,
                        .batch = config.batch,
                        .nominal_weight = static_cast<double>(config.batch * config.accumulate),
                        .seed = config.seed,
                        .ranks = training.options().ranks,
                        .rank = training.options().rank});
}

/// The operation that uses a parameter first.
int node_of(const Graph& graph, const Parameter& parameter) {
  const auto uses = [&](const Graph::Node& node) {
    return std::ranges::find(node.parameters, &parameter) != node.parameters.end();
  };
  return static_cast<int>(std::ranges::find_if(graph.nodes(), uses) - graph.nodes().begin());
}

/// Sums over all ranks. Communicators add floats: numbers are sent digit by digit, so that each sum is a whole number that FP32
/// holds, with up to 2^16 ranks.
void add_over_ranks(Communicator& communicator, std::span<std::int64_t> numbers) {
  constexpr unsigned kDigitBits = 8;
  constexpr std::size_t kDigits = 6;
  std::vector<float> digits;
  digits.reserve(numbers.size() * kDigits);
  for (const std::int64_t number : numbers) {
    for (std::size_t d = 0; d < kDigits; ++d) digits.push_back(static_cast<float>(number >> (kDigitBits * d) & 0xFF));
  }
  const TensorView view(digits.data(), DType::fp32, Shape{static_cast<std::int64_t>(digits.size())});
  communicator.all_reduce(view, {}, {.label = "counts of exponents", .after = {}}).wait();
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    numbers[i] = 0;
    for (std::size_t d = 0; d < kDigits; ++d)
      numbers[i] += static_cast<std::int64_t>(digits[i * kDigits + d]) << (kDigitBits * d);
  }
}

/// Sums of squares of a rank's part of a parameter.
struct Squares {
  double update = 0, weight = 0;
};

Squares squares_of(const std::vector<float>& before, const std::vector<float>& after) {
  Squares squares;
  for (std::size_t i = 0; i < before.size(); ++i) {
    const double w = before[i], difference = double{after[i]} - w;
    squares.update += difference * difference;
    squares.weight += w * w;
  }
  return squares;
}

}  // namespace

InspectorMemory inspector_memory(const RunConfig& config, const Network& network, Backend& backend, const Plan& training) {
  const PlanMemory plan = compile(config, network.training, backend, training)->memory();
  // What the training plan has is shared where it is large enough.
  const auto beyond = [](std::int64_t wanted_bytes, std::int64_t there_bytes) {
    return wanted_bytes <= there_bytes ? 0 : wanted_bytes;
  };
  const std::int64_t parameter_bytes = network.model.parameter_count() * size_bytes(DType::fp32);
  const std::int64_t count_bytes = most_counted(network.training) * kBins * size_bytes(DType::int64);
  return {.weights_bytes = parameter_bytes,
          .gradients_bytes = parameter_bytes,
          .activations_bytes = beyond(plan.activations_bytes, training.memory().activations_bytes),
          .workspace_bytes = beyond(plan.workspace_bytes, training.memory().workspace_bytes),
          .input_bytes = plan.input_bytes,
          .state_bytes = state_bytes(network.model) + count_bytes + size_bytes(DType::fp32)};
}

Inspector::Inspector(const RunConfig& config, const ImageTask& task, Trainer& trainer)
    : trainer_(trainer),
      backend_(trainer.backend()),
      precision_(config.precision),
      network_(config, task),
      plan_(compile(config, network_.training, backend_, trainer.plan())),
      loss_scale_(backend_.allocate_tensor(DType::fp32, Shape{1}, MemoryKind::state)),
      counts_(backend_.allocate_tensor(DType::int64, Shape{most_counted(network_.training) * kBins}, MemoryKind::state)),
      clear_(backend_.prepare(Zero{.y = counts_})) {
  place_parameters();
  place_states(network_.model, backend_);
  upload(backend_, std::vector{1.0F}, loss_scale_);
  plan_->bind(loss_scale_, &trainer_.plan());
  prepare_parameters();
  prepare_inputs();
}

Inspector::~Inspector() = default;

void Inspector::place_parameters() {
  for (const auto& parameter : network_.model.parameters()) {
    const Shape shape = physical_shape(parameter->shape, parameter->layout);
    parameter->weight = tensors_.emplace_back(backend_.allocate_tensor(DType::fp32, shape, MemoryKind::weights));
    parameter->gradient = tensors_.emplace_back(backend_.allocate_tensor(DType::fp32, shape, MemoryKind::gradients));
  }
}

void Inspector::prepare_parameters() {
  const auto& own = network_.model.parameters();
  for (std::size_t i = 0; i < own.size(); ++i) {
    Twin twin{.parameter = trainer_.model().parameters()[i].get(), .widen = {}};
    twin.widen = backend_.prepare(Cast{.x = twin.parameter->weight, .y = own[i]->weight});
    if (!own[i]->keep_fp32) {
      const int node = node_of(network_.training, *own[i]);
      const Graph::Node& user = network_.training.nodes()[static_cast<std::size_t>(node)];
      InspectedTensor tensor{.layer = user.name, .type = std::string(user.operation->type()), .name = own[i]->name};
      tensor.kind = TensorKind::weight;
      twin.weight = add(tensor, node, own[i]->weight, {});
      tensor.kind = TensorKind::weight_gradient;
      twin.gradient = add(tensor, node, own[i]->gradient, {});
    }
    twins_.push_back(std::move(twin));
  }
}

void Inspector::prepare_inputs() {
  for (const auto& input : network_.training.inputs()) {
    inputs_.push_back(backend_.prepare(Cast{.x = trainer_.plan().input(input.name), .y = plan_->input(input.name)}));
  }
}

/// Gives a tensor a place among the counts.
int Inspector::add(InspectedTensor tensor, int node, ConstTensorView values, ConstTensorView valid_samples) {
  const auto index = static_cast<std::int64_t>(counted_.size());
  const TensorView counts = counts_.view().slice(index * kBins, (index + 1) * kBins).reshaped({kMantissas, kExponents});
  counted_.push_back({.tensor = std::move(tensor),
                      .node = node,
                      .count = backend_.prepare(CountExponents{.x = values, .valid_samples = valid_samples, .counts = counts})});
  return static_cast<int>(index);
}

void Inspector::completed(const CompletedTensor& tensor, Stream& stream) {
  const auto [found, is_new] = completed_.try_emplace(&tensor, 0);
  if (is_new) {
    const auto& nodes = network_.training.nodes();
    const std::string name = tensor.output == 0 ? tensor.node->name : fmt::format("{}:{}", tensor.node->name, tensor.output);
    found->second = add({.layer = tensor.node->name,
                         .type = std::string(tensor.node->operation->type()),
                         .name = name,
                         .kind = tensor.is_gradient ? TensorKind::activation_gradient : TensorKind::activation,
                         .counts = {}},
                        static_cast<int>(tensor.node - nodes.data()), tensor.tensor, tensor.valid_samples);
  }
  counted_[static_cast<std::size_t>(found->second)].count->launch(stream);
}

void Inspector::all_gather(TensorView data, const std::string& label, Stream& stream) {
  trainer_.communicator().all_gather(data, {.label = "inspected " + label, .after = stream.record()}).precede(stream);
}

std::vector<float> Inspector::master_of(std::size_t parameter) const {
  const ShardedOptimizer& optimizer = trainer_.optimizer();
  return optimizer.own_array(optimizer.array_names().front(), *twins_[parameter].parameter);
}

void Inspector::begin() {
  masters_.clear();
  for (std::size_t i = 0; i < twins_.size(); ++i) masters_.push_back(master_of(i));
}

void Inspector::observe(const MicroBatch& micro_batch) {
  Stream& stream = micro_batch.stream;
  const auto count = [&](int index) {
    if (index >= 0) counted_[static_cast<std::size_t>(index)].count->launch(stream);
  };
  if (micro_batch.index == 0) {
    clear_->launch(stream);
    for (const Twin& twin : twins_) {
      trainer_.optimizer().before_use(*twin.parameter, stream);
      twin.widen->launch(stream);
      count(twin.weight);
    }
  }
  for (const auto& input : inputs_) input->launch(stream);
  const bool is_first = micro_batch.index == 0, is_last = micro_batch.index + 1 == trainer_.options().micro_batches;
  plan_->forward(stream, /*accumulate=*/!is_first, this);
  plan_->backward(stream, /*accumulate=*/!is_first, this);
  for (const Twin& twin : twins_) {
    if (is_last) count(twin.gradient);
  }
}

std::vector<std::int64_t> Inspector::count_on_all_ranks() {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(counts_.elements()));
  backend_.copy({counts.data(), DType::int64, counts_.shape()}, counts_);
  counts.resize(counted_.size() * static_cast<std::size_t>(kBins));
  add_over_ranks(trainer_.communicator(), counts);
  return counts;
}

/// Where weights are not sharded every rank has them all, and the sum has them as often as there are ranks.
std::vector<WeightUpdate> Inspector::updates_on_all_ranks() {
  Communicator& communicator = trainer_.communicator();
  const std::size_t parameters = twins_.size(), ranks = static_cast<std::size_t>(communicator.size());
  std::vector<Squares> squares(parameters * ranks);
  const std::size_t own = parameters * static_cast<std::size_t>(communicator.rank());
  for (std::size_t i = 0; i < parameters; ++i) squares[own + i] = squares_of(masters_[i], master_of(i));
  masters_.clear();
  static_assert(sizeof(Squares) == 2 * sizeof(double));
  const TensorView view(squares.data(), DType::fp64, Shape{static_cast<std::int64_t>(2 * squares.size())});
  communicator.all_gather(view, {.label = "norms of updates", .after = {}}).wait();
  const double copies = trainer_.optimizer().config().shard ? 1 : static_cast<double>(ranks);
  std::vector<WeightUpdate> updates;
  for (std::size_t i = 0; i < parameters; ++i) {
    Squares sum;
    for (std::size_t rank = 0; rank < ranks; ++rank) {
      sum.update += squares[rank * parameters + i].update;
      sum.weight += squares[rank * parameters + i].weight;
    }
    updates.push_back({.parameter = twins_[i].parameter->name,
                       .update_norm = std::sqrt(sum.update / copies),
                       .weight_norm = std::sqrt(sum.weight / copies)});
  }
  return updates;
}

Inspection Inspector::finish() {
  const StepState& state = trainer_.state();
  Inspection inspection{.step = state.attempted,
                        .applied = state.last_applied != 0,
                        .precision = precision_,
                        .loss_scale = state.used_loss_scale,
                        .tensors = {},
                        .updates = updates_on_all_ranks()};
  const std::vector<std::int64_t> counts = count_on_all_ranks();
  std::vector<std::size_t> order(counted_.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  // Weights were added first, a weight and its gradient together: they stay so behind the activations of their layer.
  std::ranges::stable_sort(order, {}, [&](std::size_t i) {
    const Counted& counted = counted_[i];
    const bool is_weight = counted.tensor.kind == TensorKind::weight || counted.tensor.kind == TensorKind::weight_gradient;
    return std::tuple(counted.node, is_weight, is_weight ? TensorKind::weight : counted.tensor.kind);
  });
  for (const std::size_t i : order) {
    InspectedTensor tensor = counted_[i].tensor;
    tensor.counts = ExponentCounts(std::span(counts).subspan(i * static_cast<std::size_t>(kBins)).first<kBins>());
    inspection.tensors.push_back(std::move(tensor));
  }
  return inspection;
}

}  // namespace minim::command

#include "minim/launcher/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <numeric>
#include <set>

#include "minim/launcher/shared_error.h"
#include "minim/runtime/kernels/elementwise.h"
#include "minim/runtime/kernels/state.h"
#include "settle.h"

namespace minim {
namespace {

/// Waits for an event on a stream that may itself be waiting for collectives, which only this thread advances.
void wait_driving(Communicator& communicator, const Event& event) {
  constexpr std::chrono::microseconds kPoll{20};
  do {
    communicator.progress();
  } while (!event.wait_for(kPoll));
  event.wait();  // rethrows what failed
}

/// A phase at work: its plans, its optimizer, and the calls that end it.
class PhaseRun final : public PlanObserver {
 public:
  explicit PhaseRun(Communicator& communicator) : communicator_(communicator) {}

  PhaseConfig config;
  std::vector<std::unique_ptr<Plan>> plans;
  std::vector<Plan*> plan_pointers;
  std::unique_ptr<ShardedOptimizer> optimizer;
  std::vector<PhaseRun*> borrowed_from;  ///< phases that update parameters which this one only reads
  std::vector<std::unique_ptr<KernelCall>> commit_states;
  // Where micro-batches may run on different plans their sums are added up here.
  std::vector<std::unique_ptr<KernelCall>> clear_sums, add_sums;
  Tensor loss, weight, correct;
  std::set<const Parameter*> own;

  void before_use(const Parameter& parameter, Stream& stream) override {
    if (own.contains(&parameter)) optimizer->before_use(parameter, stream);
  }
  void gradient_ready(const Parameter& parameter, Stream& stream) override {
    if (last_micro_batch && own.contains(&parameter)) optimizer->gradient_ready(parameter, stream);
  }
  void all_gather(TensorView data, const std::string& label, Stream& stream) override {
    communicator_.all_gather(data, {.label = label, .after = stream.record()}).precede(stream);
  }
  bool last_micro_batch = false;

  std::int64_t begun() const { return optimizer->state().attempted + optimizer->under_way(); }
  std::deque<RankError> errors;  ///< of this rank, in the steps under way

 private:
  Communicator& communicator_;
};

std::vector<Parameter*> trained_parameters(const PhaseRun& phase) {
  const auto& trained = phase.plans.front()->trained();
  for (const auto& plan : phase.plans) {
    if (plan->trained() != trained) {
      throw InvalidArgument(fmt::format("phase \"{}\": its graphs train different parameters", phase.config.name));
    }
  }
  return trained;
}

/// Tensors of states that lie one after another.
struct StateRange {
  TensorView committed, pending;
};

/// Adds what follows in memory. False where it does not.
bool extend(TensorView& range, const TensorView& next) {
  auto* const begin = static_cast<std::byte*>(range.raw());
  if (next.raw() != begin + round_up(range.size_bytes(), kAlignmentBytes)) return false;
  const std::int64_t bytes = static_cast<std::byte*>(next.raw()) + next.size_bytes() - begin;
  range = {begin, range.dtype(), Shape{bytes / size_bytes(range.dtype())}};
  return true;
}

/// In the model's order, not that of addresses.
std::vector<StateRange> ranges_of(const Model& model, const std::set<State*>& states) {
  std::vector<StateRange> ranges;
  for (const auto& state : model.states()) {
    if (!states.contains(state.get())) continue;
    StateRange last = ranges.empty() ? StateRange{} : ranges.back();
    if (!ranges.empty() && extend(last.committed, state->committed) && extend(last.pending, state->pending)) {
      ranges.back() = last;
    } else {
      ranges.push_back({state->committed, state->pending});
    }
  }
  return ranges;
}

}  // namespace

struct Trainer::Impl {
  Backend& backend;
  Communicator& communicator;
  Model& model;
  Options options;
  std::vector<std::unique_ptr<PhaseRun>> phases;
  StepTrace* trace = nullptr;
  Event copied;                    // until then what the feed copied from is in use
  std::unique_ptr<Stream> stream;  // last: it is emptied before what its kernels use goes away

  Impl(Backend& backend_, Communicator& communicator_, Model& model_, Options options_)
      : backend(backend_), communicator(communicator_), model(model_), options(options_) {}

  void compile(PhaseConfig config);
  void place();
  void bind_plans();
  void prepare_endings(PhaseRun& phase);
  template <class Part>
  auto guarded(const Part& part);
  TraceRow* host_row() const { return trace != nullptr ? &trace->host : nullptr; }
  template <class Part>
  void enqueue_part(const char* name, const Part& part);
  void launch_all(const std::vector<std::unique_ptr<KernelCall>>& calls, const TraceLabel& label);
  bool under_way() const;
  bool run_phase(int index, const Feed& feed, bool stop_requested);
  RankError enqueue(int index, const Feed& feed, bool stop_requested);
  void finish_all() noexcept;
  void take_outcome(PhaseRun& phase);
  void drain(PhaseRun& phase);
  RankError run_micro_batches(int index, const Feed& feed);
  void judge(const PhaseRun& phase, const RankError& error);
  [[noreturn]] void refuse_weight(const PhaseRun& phase, int rank, int parameter) const;
};

void Trainer::Impl::compile(PhaseConfig config) {
  if (config.graphs.empty()) throw InvalidArgument(fmt::format("phase \"{}\" has no graph", config.name));
  auto phase = std::make_unique<PhaseRun>(communicator);
  phase->config = std::move(config);
  const double nominal_weight = static_cast<double>(phase->config.batch) * options.micro_batches;
  for (const Graph* graph : phase->config.graphs) {
    phase->plans.push_back(Plan::compile(*graph, backend,
                                         {.precision = options.precision,
                                          .batch = phase->config.batch,
                                          .nominal_weight = nominal_weight,
                                          .seed = options.seed,
                                          .trainable = phase->config.updates,
                                          .ranks = options.synchronise_batch_norm ? communicator.size() : 1,
                                          .rank = options.synchronise_batch_norm ? communicator.rank() : 0}));
    phase->plan_pointers.push_back(phase->plans.back().get());
  }
  auto& optimizer = phase->config.optimizer;
  optimizer.precision = options.precision;
  optimizer.nominal_weight = nominal_weight;
  optimizer.configuration_hash = options.configuration_hash;
  phases.push_back(std::move(phase));
}

void Trainer::Impl::place() {
  std::set<const Parameter*> placed;
  for (auto& phase : phases) {
    auto parameters = trained_parameters(*phase);
    for (const Parameter* parameter : parameters) {
      if (!placed.insert(parameter).second) {
        throw InvalidArgument(fmt::format("parameter \"{}\" is updated by more than one phase", parameter->name));
      }
    }
    phase->own.insert(parameters.begin(), parameters.end());
    phase->optimizer = std::make_unique<ShardedOptimizer>(backend, communicator, std::move(parameters), phase->config.optimizer);
    phase->optimizer->initialize(options.seed);
  }
  for (const auto& parameter : model.parameters()) {
    if (!placed.contains(parameter.get())) {
      throw InvalidArgument(fmt::format("parameter \"{}\" is updated by no phase", parameter->name));
    }
  }
  place_states(model, backend);
}

void Trainer::Impl::bind_plans() {
  struct Binding {
    PhaseRun* phase;
    Plan* plan;
  };
  std::vector<Binding> bindings;
  for (auto& phase : phases) {
    for (auto& plan : phase->plans) bindings.push_back({phase.get(), plan.get()});
  }
  // The largest arena first: all other plans share it, since one plan runs at a time.
  std::stable_sort(bindings.begin(), bindings.end(), [](const Binding& a, const Binding& b) {
    return a.plan->memory().activations_bytes > b.plan->memory().activations_bytes;
  });
  for (const Binding& binding : bindings) {
    const Plan* owner = binding.plan == bindings.front().plan ? nullptr : bindings.front().plan;
    binding.plan->bind(binding.phase->optimizer->loss_scale(), owner);
  }
}

void Trainer::Impl::prepare_endings(PhaseRun& phase) {
  std::set<State*> states;
  for (const Graph* graph : phase.config.graphs) {
    for (const auto& node : graph->nodes()) {
      states.insert(node.states.begin(), node.states.end());
      for (const Parameter* parameter : node.parameters) {
        for (auto& other : phases) {
          const bool lends = other.get() != &phase && other->own.contains(parameter);
          if (lends &&
              std::find(phase.borrowed_from.begin(), phase.borrowed_from.end(), other.get()) == phase.borrowed_from.end()) {
            phase.borrowed_from.push_back(other.get());
          }
        }
      }
    }
  }
  for (const StateRange& range : ranges_of(model, states)) {
    phase.commit_states.push_back(backend.prepare(
        CommitState{.committed = range.committed, .pending = range.pending, .applied = phase.optimizer->last_applied()}));
  }
  const auto add_up = [&](const std::string& output, Tensor& sum) {
    sum = backend.allocate_tensor(DType::fp32, Shape{1}, MemoryKind::input);
    std::vector<ConstTensorView> parts;
    for (const auto& plan : phase.plans) {
      parts.push_back(plan->output(output));
      phase.clear_sums.push_back(backend.prepare(Zero{.y = plan->output(output)}));
    }
    phase.add_sums.push_back(backend.prepare(Sum{.inputs = parts, .y = sum.view()}));
  };
  add_up(phase.config.loss, phase.loss);
  add_up(phase.config.weight, phase.weight);
  add_up(phase.config.correct, phase.correct);
}

/// Under its name in a profiler.
template <class Part>
void Trainer::Impl::enqueue_part(const char* name, const Part& part) {
  stream->begin_range(name);
  traced(host_row(), {.name = name, .category = "host", .type = "enqueue"}, part);
  stream->end_range();
}

void Trainer::Impl::launch_all(const std::vector<std::unique_ptr<KernelCall>>& calls, const TraceLabel& label) {
  for (const auto& call : calls) traced(*stream, label, [&] { call->launch(*stream); });
}

RankError Trainer::Impl::run_micro_batches(int index, const Feed& feed) {
  PhaseRun& phase = *phases[static_cast<std::size_t>(index)];
  for (int m = 0; m < options.micro_batches; ++m) {
    if (trace != nullptr) trace->compute.set_micro_batch(m);
    traced(host_row(), {.name = "copies of inputs", .category = "wait"}, [&] { wait_driving(communicator, copied); });
    const Plan* plan = nullptr;
    RankError error;
    try {
      int chosen = -1;
      traced(host_row(), {.name = "feed", .category = "host"}, [&] {
        chosen = feed({.phase = index, .index = m, .step = phase.begun() - 1, .plans = phase.plan_pointers, .stream = *stream});
      });
      if (chosen < 0 || chosen >= static_cast<int>(phase.plan_pointers.size())) {
        throw InvalidArgument(
            fmt::format("phase \"{}\": the feed chose plan {} of {}", phase.config.name, chosen, phase.plan_pointers.size()));
      }
      plan = phase.plan_pointers[static_cast<std::size_t>(chosen)];
    } catch (const CommError&) {
      throw;
    } catch (...) {
      // Others would wait for what this rank's plan gathers.
      if (std::ranges::any_of(phase.plans, [](const auto& p) { return p->gathers(); })) throw;
      error = RankError::current();
    }
    copied = stream->record();
    if (plan == nullptr) return error;
    phase.last_micro_batch = m + 1 == options.micro_batches;
    enqueue_part("forward", [&] { plan->forward(*stream, /*accumulate=*/true, &phase); });
    enqueue_part("backward", [&] {
      plan->backward(*stream, /*accumulate=*/m > 0, &phase);
      if (!phase.last_micro_batch) phase.optimizer->keep_gradients(*stream);
    });
  }
  return {};
}

RankError Trainer::Impl::enqueue(int index, const Feed& feed, bool stop_requested) {
  PhaseRun& phase = *phases[static_cast<std::size_t>(index)];
  launch_all(phase.clear_sums, {.name = "sums", .category = "update", .type = "zero", .kernel = "Zero"});
  phase.optimizer->begin_step(*stream);
  RankError error = run_micro_batches(index, feed);
  if (trace != nullptr) trace->compute.set_micro_batch(-1);
  enqueue_part("update", [&] {
    launch_all(phase.add_sums, {.name = "sums", .category = "update", .type = "sum", .kernel = "Sum"});
    phase.optimizer->finish_step(*stream, phase.loss, phase.weight, phase.correct,
                                 {.error_code = static_cast<std::int32_t>(error.kind), .stop_requested = stop_requested ? 1 : 0});
    launch_all(phase.commit_states, {.name = "states", .category = "update", .type = "commit", .kernel = "CommitState"});
  });
  return error;
}

/// Where `part` throws, the others wait for collectives that will not come, and so does this rank's own stream.
template <class Part>
auto Trainer::Impl::guarded(const Part& part) {
  try {
    return part();
  } catch (const std::exception& failure) {
    communicator.abort(failure.what());
    settle(*stream);
    throw;
  }
}

bool Trainer::Impl::under_way() const {
  return std::ranges::any_of(phases, [](const auto& phase) { return phase->optimizer->under_way() > 0; });
}

void Trainer::Impl::finish_all() noexcept {
  try {
    guarded([&] {
      for (auto& phase : phases) {
        phase->errors.clear();
        while (phase->optimizer->drain()) continue;
      }
    });
  } catch (const std::exception&) {  // on the way to the caller there is an earlier one
  }
  settle(*stream);
}

/// The outcome of the oldest step that is under way. When that is an error, all ranks let the others come to their end first.
void Trainer::Impl::take_outcome(PhaseRun& phase) {
  guarded([&] { traced(host_row(), {.name = "outcome of a step", .category = "wait"}, [&] { phase.optimizer->drain(); }); });
  const RankError error = std::move(phase.errors.front());
  phase.errors.pop_front();
  try {
    judge(phase, error);
  } catch (const std::exception&) {
    finish_all();
    throw;
  }
}

void Trainer::Impl::drain(PhaseRun& phase) {
  while (phase.optimizer->under_way() > 0) take_outcome(phase);
}

/// Enqueues a step of one phase, and takes the outcome of the step before.
bool Trainer::Impl::run_phase(int index, const Feed& feed, bool stop_requested) {
  PhaseRun& phase = *phases[static_cast<std::size_t>(index)];
  for (PhaseRun* lender : phase.borrowed_from) {
    drain(*lender);
    guarded([&] { lender->optimizer->gather_weights(*stream); });
  }
  phase.errors.push_back(guarded([&] { return enqueue(index, feed, stop_requested); }));
  if (phase.optimizer->under_way() == 1) return false;
  take_outcome(phase);
  return true;
}

void Trainer::Impl::judge(const PhaseRun& phase, const RankError& error) {
  const StepState& state = phase.optimizer->state();
  const auto bad_tensor = [&] {
    const auto& parameters = phase.optimizer->parameters();
    return state.first_bad_parameter < 0 ? std::string("unknown")
                                         : parameters[static_cast<std::size_t>(state.first_bad_parameter)]->name;
  };
  switch (static_cast<AgreementError>(state.error_code)) {
    case AgreementError::none: break;
    case AgreementError::steps_differ:
      throw InvalidArgument(fmt::format("rank {} is at another step than rank 0", state.failed_rank));
    case AgreementError::configurations_differ:
      throw InvalidArgument(fmt::format("rank {} was started with another configuration than rank 0", state.failed_rank));
    case AgreementError::weight_overflow: refuse_weight(phase, state.failed_rank, state.first_bad_parameter);
    default: throw_error_of(communicator, state.failed_rank, error);
  }
  if (state.exhausted != 0) {
    throw NumericError(
        fmt::format("the gradients were not finite in {} steps in a row at a loss scale of {} that cannot fall; "
                    "first bad tensor: gradient of \"{}\"",
                    state.consecutive_skips, state.used_loss_scale, bad_tensor()));
  }
}

void Trainer::Impl::refuse_weight(const PhaseRun& phase, int rank, int parameter) const {
  const std::string& tensor = phase.optimizer->parameters()[static_cast<std::size_t>(parameter)]->name;
  throw NumericError(fmt::format("rank {}: a weight of \"{}\" has grown beyond what {} can hold", rank, tensor,
                                 name(compute_dtype(options.precision))));
}

Trainer::Trainer(Backend& backend, Communicator& communicator, Model& model, std::vector<PhaseConfig> phases, Options options)
    : impl_(std::make_unique<Impl>(backend, communicator, model, options)) {
  if (phases.empty()) throw InvalidArgument("a trainer needs at least one phase");
  if (options.micro_batches < 1) throw InvalidArgument("a step needs at least one micro-batch");
  for (auto& phase : phases) impl_->compile(std::move(phase));
  impl_->place();
  impl_->stream = backend.make_stream("compute");
  impl_->bind_plans();
  for (auto& phase : impl_->phases) impl_->prepare_endings(*phase);
}

Trainer::~Trainer() {
  if (impl_->under_way()) impl_->communicator.abort("a trainer was destroyed with a step under way");
}

void Trainer::step(const Feed& feed, bool stop_requested) {
  for (int phase = 0; phase < phases(); ++phase) {
    impl_->run_phase(phase, feed, stop_requested);
    impl_->drain(*impl_->phases[static_cast<std::size_t>(phase)]);
  }
  impl_->guarded([&] { impl_->stream->synchronize(); });
}

bool Trainer::step_ahead(const Feed& feed, bool stop_requested) {
  bool taken = false;
  for (int phase = 0; phase < phases(); ++phase) taken = impl_->run_phase(phase, feed, stop_requested) || taken;
  return taken;
}

bool Trainer::drain() {
  if (!impl_->under_way()) return false;
  for (auto& phase : impl_->phases) impl_->drain(*phase);
  impl_->guarded([&] { impl_->stream->synchronize(); });
  return true;
}

void Trainer::set_trace(StepTrace* trace) {
  impl_->trace = trace;
  impl_->stream->set_trace(trace != nullptr ? &trace->compute : nullptr);
  impl_->communicator.set_trace(trace != nullptr ? &trace->communication : nullptr);
}

std::int64_t Trainer::begun() const { return impl_->phases.front()->begun(); }

int Trainer::phases() const { return static_cast<int>(impl_->phases.size()); }
const StepState& Trainer::state(int phase) const { return impl_->phases.at(static_cast<std::size_t>(phase))->optimizer->state(); }
ShardedOptimizer& Trainer::optimizer(int phase) { return *impl_->phases.at(static_cast<std::size_t>(phase))->optimizer; }
Model& Trainer::model() { return impl_->model; }
Communicator& Trainer::communicator() { return impl_->communicator; }
Backend& Trainer::backend() { return impl_->backend; }
Stream& Trainer::stream() { return *impl_->stream; }
const Trainer::Options& Trainer::options() const { return impl_->options; }
const Plan& Trainer::plan(int phase) const { return *impl_->phases.at(static_cast<std::size_t>(phase))->plans.front(); }

void Trainer::check_weights() {
  for (const auto& phase : impl_->phases) {
    if (const auto found = phase->optimizer->find_weight_overflow()) impl_->refuse_weight(*phase, found->rank, found->parameter);
  }
}

void Trainer::gather_weights() {
  check_weights();
  for (auto& phase : impl_->phases) phase->optimizer->gather_weights(*impl_->stream);
}

void Trainer::exchange_averages() {
  for (auto& phase : impl_->phases) phase->optimizer->exchange_averages(*impl_->stream);
}

std::string Trainer::first_bad_parameter(int phase) const {
  const ShardedOptimizer& optimizer = *impl_->phases.at(static_cast<std::size_t>(phase))->optimizer;
  const int index = optimizer.state().first_bad_parameter;
  return index < 0 ? std::string() : optimizer.parameters().at(static_cast<std::size_t>(index))->name;
}

}  // namespace minim

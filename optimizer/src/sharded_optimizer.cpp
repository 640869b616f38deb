#include "minim/optimizer/sharded_optimizer.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstddef>

#include "average_kernels.h"
#include "minim/runtime/error.h"
#include "minim/runtime/kernels/elementwise.h"
#include "optimizer_impl.h"

namespace minim {

namespace {

/// Waits for collectives, and for what follows them on a stream.
void finish(std::vector<Work>& works, const Event& after) {
  std::exception_ptr failure;
  try {
    for (const Work& work : works) work.wait();
  } catch (...) {
    failure = std::current_exception();
  }
  works.clear();
  try {
    after.wait();
  } catch (...) {
    if (!failure) failure = std::current_exception();
  }
  if (failure) std::rethrow_exception(failure);  // the collective's failure is the cause of the stream's
}

/// Scaling that the precision has no use for is switched off before anything looks at it.
OptimizerConfig checked(OptimizerConfig config, std::span<Parameter* const> parameters, int world_size) {
  validate(config, parameters, world_size);
  config.loss_scale = loss_scale_for(config.precision, config.loss_scale);
  return config;
}

AgreementConfig agreement_config(const OptimizerConfig& config) {
  return {.loss_scale = config.loss_scale,
          .nominal_weight = config.nominal_weight,
          .groups = static_cast<int>(config.groups.size()),
          .clip_norm = config.clip_norm};
}

}  // namespace

ShardedOptimizer::Impl::Impl(Backend& backend_, Communicator& communicator_, std::vector<Parameter*> parameters_,
                             OptimizerConfig config_)
    : backend(backend_),
      communicator(communicator_),
      parameters(std::move(parameters_)),
      config(checked(std::move(config_), parameters, communicator_.size())),
      rank(communicator_.rank()),
      world_size(communicator_.size()),
      sharded(config.shard && world_size > 1),
      bucket_set(backend, communicator, parameters, compute_dtype(config.precision), config.buckets),
      agreement(backend, agreement_config(config), config.configuration_hash, learning_rates(config.schedule), rank, world_size),
      ready(parameters.size()),
      outcome(initial_state(config.loss_scale)) {
  add_update_kernels(backend);
  add_average_kernel(backend);
  if (has_trust_ratios(config.rule) && !parameters.empty()) {
    trust.emplace(backend, config.rule, trust_parameters(parameters, config.groups), sharded ? rank : 0,
                  sharded ? world_size : 1);
  }
  if (config.accumulate_fp32) {
    std::int64_t most = 0;
    for (const Bucket& bucket : bucket_set.buckets()) {
      if (share_of(bucket, rank, world_size, config).has_kept) most = std::max(most, bucket.elements);
    }
    widened = backend.allocate_tensor(DType::fp32, Shape{most}, MemoryKind::workspace);
  }
  const auto stream = backend.make_stream("set-up");
  std::unordered_map<const Parameter*, int> indices;
  for (Parameter* parameter : parameters) {
    indices.emplace(parameter, static_cast<int>(indices.size()));
    zero_gradient.push_back(backend.prepare(Zero{.y = parameter->gradient}));
  }
  for (Bucket& bucket : bucket_set.buckets()) {
    for (const BucketEntry& entry : bucket.entries) {
      places[entry.parameter] = {static_cast<int>(buckets.size()), entry.offset, entry.elements, indices.at(entry.parameter)};
    }
    BucketState& state = buckets.emplace_back();
    state.bucket = &bucket;
    state.share = share_of(bucket, rank, world_size, config);
    allocate_arrays(state, *stream);
    prepare_kernels(state, indices);
  }
  if (config.average_decay > 0) {
    std::int64_t most = 0;
    for (const BucketState& bucket : buckets) most = std::max(most, bucket.average.elements());
    exchanged = backend.allocate_tensor(DType::fp32, Shape{most}, MemoryKind::workspace);
  }
  for (Step& step : steps) step.works.reserve(2 * buckets.size() + 2);
}

const ShardedOptimizer::Impl::Place& ShardedOptimizer::Impl::place(const Parameter& parameter) const {
  const auto found = places.find(&parameter);
  if (found == places.end()) throw InvalidArgument(fmt::format("parameter \"{}\" is not of this optimizer", parameter.name));
  return found->second;
}

void ShardedOptimizer::Impl::require_drained(const char* call) const {
  if (under_way() > 0) throw InvalidArgument(fmt::format("{}: the step before has not been drained", call));
}

void ShardedOptimizer::Impl::issue_gathers(Stream& compute, std::vector<Work>& works) {
  const Event before = compute.record();
  for (BucketState& bucket : buckets) {
    bucket.gather = communicator.all_gather(bucket.bucket->weights(), {.label = bucket.bucket->name, .after = before});
    works.push_back(bucket.gather);
  }
}

void ShardedOptimizer::Impl::zero_missing_gradients(Stream& compute) {
  std::vector<BucketState*> completed;
  for (const Parameter* parameter : parameters) {
    const Place& at = place(*parameter);
    if (ready[static_cast<std::size_t>(at.index)] != 0) continue;
    traced(compute, {.name = parameter->name, .category = "backward", .type = "zero", .kernel = "Zero"},
           [&] { zero_gradient[static_cast<std::size_t>(at.index)]->launch(compute); });
    BucketState& bucket = buckets[static_cast<std::size_t>(at.bucket)];
    bucket.parameters_ready += 1;
    if (bucket.complete()) completed.push_back(&bucket);
  }
  for (BucketState* bucket : completed) complete_gradients(*bucket, compute);
}

void ShardedOptimizer::Impl::complete_gradients(BucketState& bucket, Stream& compute) {
  if (bucket.kept && micro_batches_kept > 0) {
    traced(compute, {.name = bucket.bucket->name, .category = "backward", .type = "accumulate", .kernel = "Sum"}, [&] {
      bucket.kept->widen->launch(compute);
      bucket.kept->complete->launch(compute);
      bucket.kept->round->launch(compute);
    });
  }
  bucket.gradients_complete = compute.record();
}

void ShardedOptimizer::Impl::issue_reductions() {
  for (; next_reduction >= 0; --next_reduction) {
    BucketState& bucket = buckets[static_cast<std::size_t>(next_reduction)];
    if (!bucket.complete()) return;
    issue_reduction(bucket);
    step(begun).works.push_back(bucket.reduction);
  }
}

void ShardedOptimizer::Impl::issue_reduction(BucketState& bucket) {
  const TensorView gradients = bucket.bucket->gradients();
  const ReduceOptions reduce{.scale_exponent = -bucket.share.wire_exponent};
  CollectiveOptions options{.label = bucket.bucket->name, .after = bucket.gradients_complete};
  if (bucket.share.has_sums) {
    bucket.reduction = communicator.reduce_scatter_fp32(gradients, bucket.sums, std::move(options));
  } else if (config.grad_sync == GradSync::all_reduce) {
    bucket.reduction = communicator.all_reduce(gradients, reduce, std::move(options));
  } else {
    bucket.reduction = communicator.reduce_scatter(gradients, reduce, std::move(options));
  }
}

void ShardedOptimizer::Impl::agree(Stream& compute) {
  const Work gather = communicator.all_gather(agreement.records(), {.label = "agreement", .after = compute.record()});
  step(begun).works.push_back(gather);
  gather.precede(compute);
  traced(compute, {.name = "agreement", .category = "update", .type = "agreement", .kernel = "FoldAgreement"},
         [&] { agreement.fold(compute); });
}

void ShardedOptimizer::Impl::make_trust_ratios(Stream& compute) {
  if (!trust) return;
  for (const BucketState& bucket : buckets) {
    traced(compute, {.name = bucket.bucket->name, .category = "update", .type = "norms", .kernel = "MeasureUpdate"},
           [&] { bucket.measure->launch(compute); });
  }
  if (sharded) {
    const Work gather = communicator.all_gather(trust->squares(), {.label = "norms", .after = compute.record()});
    step(begun).works.push_back(gather);
    gather.precede(compute);
  }
  traced(compute, {.name = "norms", .category = "update", .type = "norms", .kernel = "FoldSquares"},
         [&] { trust->fold(compute); });
}

ShardedOptimizer::ShardedOptimizer(Backend& backend, Communicator& communicator, std::vector<Parameter*> parameters,
                                   OptimizerConfig config)
    : impl_(std::make_unique<Impl>(backend, communicator, std::move(parameters), std::move(config))) {}

ShardedOptimizer::~ShardedOptimizer() = default;

ConstTensorView ShardedOptimizer::loss_scale() const {
  static_assert(offsetof(StepState, loss_scale) == 0);
  return {impl_->agreement.state().raw(), DType::fp32, Shape{1}};
}

ConstTensorView ShardedOptimizer::last_applied() const {
  const auto* state = static_cast<const StepState*>(impl_->agreement.state().raw());
  return {&state->last_applied, DType::int32, Shape{1}};
}

void ShardedOptimizer::begin_step(Stream& compute) {
  if (impl_->unfinished) throw InvalidArgument("begin_step: the step before has not been finished");
  if (impl_->under_way() == kStepsUnderWay) impl_->require_drained("begin_step");
  impl_->unfinished = true;
  impl_->micro_batches_kept = 0;
  ++impl_->begun;
  std::ranges::fill(impl_->ready, char{0});
  for (BucketState& bucket : impl_->buckets) {
    bucket.parameters_ready = 0;
    bucket.gather_awaited = false;
  }
  impl_->next_reduction = static_cast<int>(impl_->buckets.size()) - 1;
  if (impl_->sharded) impl_->issue_gathers(compute, impl_->step(impl_->begun).works);
}

void ShardedOptimizer::before_use(const Parameter& parameter, Stream& compute) {
  BucketState& bucket = impl_->buckets[static_cast<std::size_t>(impl_->place(parameter).bucket)];
  if (bucket.gather_awaited || !impl_->sharded) return;
  bucket.gather.precede(compute);
  bucket.gather_awaited = true;
}

void ShardedOptimizer::keep_gradients(Stream& compute) {
  if (!impl_->unfinished) throw InvalidArgument("keep_gradients: no step has begun");
  for (BucketState& bucket : impl_->buckets) {
    if (!bucket.kept) continue;
    traced(compute, {.name = bucket.bucket->name, .category = "backward", .type = "accumulate", .kernel = "Sum"}, [&] {
      if (impl_->micro_batches_kept == 0) {
        bucket.kept->start->launch(compute);
      } else {
        bucket.kept->widen->launch(compute);
        bucket.kept->add->launch(compute);
      }
      bucket.kept->clear->launch(compute);
    });
  }
  ++impl_->micro_batches_kept;
}

void ShardedOptimizer::gradient_ready(const Parameter& parameter, Stream& compute) {
  const Impl::Place& place = impl_->place(parameter);
  char& ready = impl_->ready[static_cast<std::size_t>(place.index)];
  if (ready != 0) throw InvalidArgument(fmt::format("the gradient of \"{}\" became ready twice in one step", parameter.name));
  ready = 1;
  BucketState& bucket = impl_->buckets[static_cast<std::size_t>(place.bucket)];
  bucket.parameters_ready += 1;
  if (!bucket.complete()) return;
  impl_->complete_gradients(bucket, compute);
  impl_->issue_reductions();
}

void ShardedOptimizer::finish_step(Stream& compute, ConstTensorView loss, ConstTensorView weight, ConstTensorView correct,
                                   HostReport report) {
  if (!impl_->unfinished) throw InvalidArgument("finish_step: no step has begun");
  const int slot = static_cast<int>(impl_->begun % kStepsUnderWay);
  impl_->zero_missing_gradients(compute);
  impl_->issue_reductions();
  traced(compute, {.name = "report", .category = "update", .type = "agreement", .kernel = "FillRecord"},
         [&] { impl_->agreement.fill(compute, slot, loss, weight, correct, report); });
  for (BucketState& bucket : impl_->buckets) {
    if (impl_->sharded && !bucket.gather_awaited) bucket.gather.precede(compute);  // nobody used it; the update writes it
    bucket.reduction.precede(compute);
    traced(compute, {.name = bucket.bucket->name, .category = "update", .type = "check", .kernel = "CheckGradients"},
           [&] { bucket.check->launch(compute); });
  }
  impl_->agree(compute);
  impl_->make_trust_ratios(compute);
  for (BucketState& bucket : impl_->buckets) {
    traced(compute, {.name = bucket.bucket->name, .category = "update", .type = "update", .kernel = "ApplyUpdate"},
           [&] { bucket.update->launch(compute); });
    if (!bucket.track) continue;
    traced(compute, {.name = bucket.bucket->name, .category = "update", .type = "average", .kernel = "AverageWeights"},
           [&] { bucket.track->launch(compute); });
  }
  traced(compute, {.name = "outcome", .category = "copy", .bytes = sizeof(StepState)},
         [&] { impl_->agreement.fetch(compute, slot); });
  impl_->step(impl_->begun).fetched = compute.record();
  impl_->unfinished = false;
  impl_->current = !impl_->sharded;
}

bool ShardedOptimizer::drain() {
  if (impl_->unfinished) throw InvalidArgument("drain: the step has not been finished");
  if (impl_->under_way() == 0) return false;
  const std::int64_t number = ++impl_->drained;
  Impl::Step& step = impl_->step(number);
  finish(step.works, step.fetched);
  impl_->outcome = impl_->agreement.fetched(static_cast<int>(number % kStepsUnderWay));
  return true;
}

std::int64_t ShardedOptimizer::under_way() const { return impl_->under_way(); }

void ShardedOptimizer::gather_weights(Stream& compute) {
  impl_->require_drained("gather_weights");
  if (impl_->current) return;
  std::vector<Work> works;
  impl_->issue_gathers(compute, works);
  finish(works, compute.record());
  impl_->current = true;
}

void ShardedOptimizer::exchange_averages(Stream& compute) {
  impl_->require_drained("exchange_averages");
  if (impl_->config.average_decay == 0) return;
  for (BucketState& bucket : impl_->buckets) {
    const TensorView master = impl_->array_view(bucket, master_name(impl_->config.precision));
    const TensorView kept = impl_->exchanged.view().slice(0, master.elements());
    compute.copy(kept, master);
    compute.copy(master, bucket.average);
    compute.copy(bucket.average, kept);
    if (bucket.round_weights) bucket.round_weights->launch(compute);
  }
  if (impl_->sharded) impl_->current = false;
}

std::optional<WeightOverflow> ShardedOptimizer::find_weight_overflow() {
  impl_->require_drained("find_weight_overflow");
  std::vector<std::int32_t> found(static_cast<std::size_t>(impl_->world_size));
  found[static_cast<std::size_t>(impl_->rank)] = impl_->agreement.read_overflow();
  const TensorView view(found.data(), DType::int32, Shape{impl_->world_size});
  impl_->communicator.all_gather(view, {.label = "weights that overflowed", .after = {}}).wait();
  const auto first = std::ranges::find_if(found, [](std::int32_t parameter) { return parameter != kNoOverflow; });
  if (first == found.end()) return std::nullopt;
  return WeightOverflow{.rank = static_cast<int>(first - found.begin()), .parameter = *first};
}

const StepState& ShardedOptimizer::state() const { return impl_->outcome; }

void ShardedOptimizer::set_state(const StepState& state) {
  impl_->agreement.write(state);
  impl_->outcome = state;
}

const OptimizerConfig& ShardedOptimizer::config() const { return impl_->config; }
const std::vector<Parameter*>& ShardedOptimizer::parameters() const { return impl_->parameters; }
bool ShardedOptimizer::weights_current() const { return impl_->current; }

}  // namespace minim

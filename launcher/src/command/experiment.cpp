#include "command/experiment.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "command/data_outline.h"
#include "minim/launcher/shared_error.h"

namespace minim::command {
namespace {

constexpr std::uint64_t kSyntheticSeed = 1;  // the data stay the same when --seed changes

/// An input of a plan and what a batch has for it.
struct InputCopy {
  const char* input;
  TensorView to;
  ConstTensorView from;
};

void enqueue_copy(Stream& stream, const InputCopy& copy) {
  traced(stream, {.name = copy.input, .category = "copy", .bytes = copy.from.size_bytes()},
         [&] { stream.copy(copy.to, copy.from); });
}

std::vector<InputCopy> copies_of(const Plan& plan, const std::pair<const char*, ConstTensorView> (&batch)[5]) {
  std::vector<InputCopy> copies;
  for (const auto& [input, from] : batch) {
    if (!plan.has_input(input)) continue;
    const TensorView to = plan.input(input);
    if (to.dtype() != from.dtype() || to.elements() != from.elements()) {
      throw InvalidArgument(fmt::format("input \"{}\" of the plan is {} {}, the batch has {} {}", input, name(to.dtype()),
                                        to.shape().to_string(), name(from.dtype()), from.shape().to_string()));
    }
    copies.push_back({input, to, from});
  }
  return copies;
}

/// Refuses options that say what the data set says itself.
void check_description(const RunConfig& config) {
  if (config.classes != 0 || config.samples != 0) {
    throw InvalidArgument(fmt::format("--classes and --samples describe synthetic data; {} brings its own", config.dataset));
  }
  if (!has_photos(config) && (config.image_size != 0 || config.channels != 0)) {
    throw InvalidArgument(
        fmt::format("--image-size and --channels are for synthetic data and photos; {} brings its own", config.dataset));
  }
}

}  // namespace

Network::Network(const RunConfig& config, const ImageTask& task) {
  const ZooOptions options{.width = config.width, .label_smoothing = config.label_smoothing};
  build_classifier(training, config.model, task, options);
  build_classifier(evaluation, config.model, task, {.width = config.width});
}

std::vector<Parameter*> Network::parameters() const {
  std::vector<Parameter*> parameters;
  for (const auto& parameter : model.parameters()) parameters.push_back(parameter.get());
  return parameters;
}

std::unique_ptr<Dataset> open_split(const RunConfig& config, Split split, std::shared_ptr<MemoryAccount> account) {
  const auto [task, samples] = outline_of(config);
  if (config.dataset != "synthetic") {
    check_description(config);
    return open_dataset({.name = config.dataset,
                         .directory = config.data,
                         .augment = config.augment == "crop-flip" ? Augment::crop_flip : Augment::none,
                         .image_size = task.height,
                         .channels = task.channels,
                         .cache_bytes = split == Split::train ? cache_bytes(config) : 0,
                         .account = std::move(account)},
                        split);
  }
  const std::int64_t size = split == Split::train ? samples : std::max<std::int64_t>(1, samples / 4);
  return make_synthetic(task, size, kSyntheticSeed, split);
}

BatchFeed::BatchFeed(Backend& backend)
    : backend_(backend),
      valid_samples_(backend.allocate_host_tensor(DType::int32, Shape{1}, MemoryKind::staging)),
      attempted_step_(backend.allocate_host_tensor(DType::int64, Shape{1}, MemoryKind::staging)) {
  if (!backend.host_accessible()) copies_ = backend.make_stream("input");
}

std::int64_t BatchFeed::staging_bytes() { return size_bytes(DType::int32) + size_bytes(DType::int64); }

std::int64_t BatchFeed::input_bytes(const Backend& backend, const Plan& plan) {
  return backend.host_accessible() ? 0 : plan.memory().input_bytes;
}

void BatchFeed::fill(const Plan& plan, const Batch& batch, std::int64_t attempted_step, Stream& stream) {
  if (!batch.error.empty()) throw DataError(batch.error);
  valid_samples_.span<std::int32_t>()[0] = batch.valid_samples;
  attempted_step_.span<std::int64_t>()[0] = attempted_step;
  const auto copies = copies_of(plan, {{"images", batch.images},
                                       {"labels", batch.labels},
                                       {"valid_samples", valid_samples_},
                                       {"sample_ids", batch.sample_ids},
                                       {"attempted_step", attempted_step_}});
  if (!copies_) {
    for (const InputCopy& copy : copies) enqueue_copy(stream, copy);
    return;
  }
  const std::int64_t wanted = input_bytes(backend_, plan);
  if (arrived_.elements() < wanted) arrived_ = backend_.allocate_tensor(DType::uint8, Shape{wanted}, MemoryKind::input);
  std::vector<InputCopy> onward;
  std::int64_t offset = 0;
  for (const InputCopy& copy : copies) {
    auto* const place = static_cast<std::byte*>(arrived_.view().raw()) + offset;
    const TensorView arriving(place, copy.to.dtype(), copy.to.shape());
    onward.push_back({copy.input, copy.to, arriving});
    enqueue_copy(*copies_, {copy.input, arriving, copy.from});
    offset += round_up(copy.to.size_bytes(), kAlignmentBytes);
  }
  traced(stream, {.name = "inputs", .category = "wait"}, [&] { stream.wait(copies_->record()); });
  for (const InputCopy& copy : onward) enqueue_copy(stream, copy);
}

void BatchFeed::set_trace(TraceRow* row) {
  if (copies_) copies_->set_trace(row);
}

void run_guarded(Communicator& communicator, const std::function<void()>& part) {
  RankError error;
  try {
    part();
  } catch (const CommError&) {
    throw;
  } catch (...) {
    error = RankError::current();
  }
  agree_on_errors(communicator, error);
}

std::int64_t broadcast_number(Communicator& communicator, std::int64_t value) {
  communicator.broadcast(TensorView(&value, DType::int64, Shape{1}), 0, {.label = "set-up", .after = {}}).wait();
  return value;
}

}  // namespace minim::command

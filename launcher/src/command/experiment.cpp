#include "command/experiment.h"

#include <fmt/format.h>

#include "minim/launcher/shared_error.h"

namespace minim::command {
namespace {

constexpr std::uint64_t kSyntheticSeed = 1;  // the data stay the same when --seed changes

void copy_input(const Plan& plan, const char* input, ConstTensorView from, Stream& stream) {
  const TensorView to = plan.input(input);
  if (to.dtype() != from.dtype() || to.elements() != from.elements()) {
    throw InvalidArgument(fmt::format("input \"{}\" of the plan is {} {}, the batch has {} {}", input, name(to.dtype()),
                                      to.shape().to_string(), name(from.dtype()), from.shape().to_string()));
  }
  stream.copy(to, from);
}

bool describes_synthetic_data(const RunConfig& config) {
  return config.image_size != 0 || config.channels != 0 || config.classes != 0 || config.samples != 0;
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

std::unique_ptr<Dataset> open_split(const RunConfig& config, Split split) {
  if (config.dataset != "synthetic") {
    if (describes_synthetic_data(config)) {
      throw InvalidArgument(fmt::format(
          "--image-size, --channels, --classes and --samples describe synthetic data; {} brings its own", config.dataset));
    }
    return open_dataset(config.dataset, config.data, split);
  }
  const std::int64_t samples = config.samples > 0 ? config.samples : kSyntheticSamples;
  const std::int64_t size = split == Split::train ? samples : std::max<std::int64_t>(1, samples / 4);
  return make_synthetic(image_task(config), size, kSyntheticSeed, split);
}

BatchFeed::BatchFeed(Backend& backend)
    : valid_samples_(backend.allocate_host_tensor(DType::int32, Shape{1}, MemoryKind::staging)),
      attempted_step_(backend.allocate_host_tensor(DType::int64, Shape{1}, MemoryKind::staging)) {}

std::int64_t BatchFeed::staging_bytes() { return size_bytes(DType::int32) + size_bytes(DType::int64); }

void BatchFeed::fill(const Plan& plan, const Batch& batch, std::int64_t attempted_step, Stream& stream) {
  if (!batch.error.empty()) throw DataError(batch.error);
  valid_samples_.span<std::int32_t>()[0] = batch.valid_samples;
  attempted_step_.span<std::int64_t>()[0] = attempted_step;
  copy_input(plan, "images", batch.images, stream);
  copy_input(plan, "labels", batch.labels, stream);
  copy_input(plan, "valid_samples", valid_samples_, stream);
  if (plan.has_input("sample_ids")) copy_input(plan, "sample_ids", batch.sample_ids, stream);
  if (plan.has_input("attempted_step")) copy_input(plan, "attempted_step", attempted_step_, stream);
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

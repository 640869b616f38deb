#include <fmt/format.h>

#include <filesystem>
#include <optional>
#include <system_error>

#include "command/commands.h"
#include "command/device_survey.h"
#include "command/environment.h"
#include "command/experiment.h"
#include "command/logits_file.h"
#include "command/lost_ranks.h"
#include "command/newest_checkpoint.h"
#include "minim/launcher/trainer.h"
#include "minim/launcher/weights_file.h"

namespace minim::command {
namespace {

/// Gives every parameter of a model a weight in memory.
class PlacedWeights {
 public:
  PlacedWeights(Model& model, Backend& backend, DType compute) {
    for (const auto& parameter : model.parameters()) {
      const DType dtype = parameter->keep_fp32 ? DType::fp32 : compute;
      tensors_.push_back(
          backend.allocate_tensor(dtype, physical_shape(parameter->shape, parameter->layout), MemoryKind::weights));
      parameter->weight = tensors_.back();
    }
    place_states(model, backend);
  }

 private:
  std::vector<Tensor> tensors_;
};

/// What is evaluated: a checkpoint of a run, or weights in a file.
struct Subject {
  std::optional<CheckpointInfo> checkpoint;
  RunConfig config;

  Subject(const Request& request, bool report, const AtWork& at_work) {
    std::error_code ignored;  // what cannot be looked at is no run either, which the next says
    if (std::filesystem::is_regular_file(request.run, ignored)) {
      config = resolve(apply_arguments(RunConfig{}, request));
      return;
    }
    checkpoint = require_checkpoint(request.run, report, at_work);
    config = apply_arguments(apply_toml(RunConfig{}, checkpoint->model_configuration, checkpoint->directory), request);
    config.loss_scale = RunConfig{}.loss_scale;  // of training alone: the run's need not go with another --precision
    config = resolve(config);
  }

  void load(const Request& request, Model& model, Backend& backend, const AtWork& at_work) const {
    if (checkpoint) return load_weights(*checkpoint, model, backend, at_work);
    load_weights(WeightsFile(request.run, model, at_work), model, backend);
  }
};

}  // namespace

ExitCode evaluate(const Request& request, MpiSession& mpi) {
  Communicator& communicator = mpi.open(request.config.deadline, 0);
  const bool rank_0 = communicator.rank() == 0;
  std::optional<Subject> subject;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<Network> network;
  std::unique_ptr<PlacedWeights> weights;
  std::unique_ptr<Dataset> data;
  std::unique_ptr<EvaluationLoader> loader;
  std::unique_ptr<BatchFeed> feed;
  std::optional<LogitsFile> logits;
  const AtWork at_work = [&communicator] { communicator.keep_alive(); };
  run_guarded(communicator, [&] { subject.emplace(request, rank_0, at_work); });
  const RunConfig& config = subject->config;
  const DeviceSurvey devices(config.device, communicator);
  for (const std::string& notice : devices.notices()) {
    if (rank_0) fmt::print("{}\n", notice);
  }
  run_guarded(communicator, [&] {
    backend = devices.open(threads_of_rank(config.threads, mpi.core_sharing_ranks()), cuda_options(config, communicator));
    data = open_split(config, Split::test);
    network = std::make_unique<Network>(config, data->task());
    const DType compute = compute_dtype(parse_precision(config.precision));
    weights = std::make_unique<PlacedWeights>(network->model, *backend, compute);
    subject->load(request, network->model, *backend, at_work);
    loader = std::make_unique<EvaluationLoader>(
        *data, *backend,
        LoaderOptions{.batch = config.batch, .rank = communicator.rank(), .world_size = communicator.size(), .dtype = compute});
    feed = std::make_unique<BatchFeed>(*backend);
    if (!request.file.empty()) {
      logits.emplace(data->size(), data->task().classes, config.batch, loader->batches(), communicator);
    }
  });
  const auto stream = backend->make_stream("compute");
  Evaluator evaluator(*backend, communicator, *stream, network->evaluation, parse_precision(config.precision), config.batch);
  const auto fill = [&](std::int64_t batch, Plan& evaluation, Stream& compute) {
    feed->fill(evaluation, loader->read(batch), /*attempted_step=*/0, compute);
  };
  const auto look = [&](std::int64_t batch, const Plan& evaluation) {
    if (logits) logits->take(batch, evaluation, *backend);
  };
  const EvaluationResult result = ending_on_loss(communicator, [&] { return evaluator.run(loader->batches(), fill, look); });
  if (logits) ending_on_loss(communicator, [&] { logits->gather(); });
  run_guarded(communicator, [&] {
    if (logits && rank_0) logits->write(request.file);
  });
  if (rank_0) {
    const std::filesystem::path& evaluated = subject->checkpoint ? subject->checkpoint->directory : request.run;
    fmt::print("{}, {} on {}: test loss {:.4f}, accuracy {:.2f} %, {:.0f} images\n", evaluated.string(), config.model,
               config.dataset, result.loss, 100 * result.accuracy, result.weight);
  }
  return ExitCode::finished;
}

}  // namespace minim::command

#include <fmt/format.h>

#include "checkpoint_collective.h"
#include "command/commands.h"
#include "command/device_survey.h"
#include "command/environment.h"
#include "command/node_memory.h"
#include "command/step_figures.h"
#include "command/text.h"
#include "command/training_run.h"

namespace minim::command {
namespace {

/// The checkpoint that all ranks continue from. Collective. What is passed over here is passed over again, and reported, when it
/// is loaded.
RunStart find_start(Communicator& communicator, const RunDirectory& directory) {
  std::vector<std::string> refused;
  const auto info = CheckpointStore(directory.path()).find_newest(communicator, refused);
  if (!info) return {};
  return {.resumed = true, .step = info->step, .position = info->data_position, .world_size = info->world_size};
}

/// What a rank has at most, as a part of a sentence.
std::string describe(const MemoryShare& share, const DeviceSurvey& devices) {
  const std::string size = format_bytes(share.size_bytes);
  if (!devices.uses_cuda())
    return fmt::format("{} are available to each of {} on the node of rank {}", size, share.ranks, share.rank);
  if (share.ranks == 1) return fmt::format("the CUDA device of rank {} has {} free", share.rank, size);
  return fmt::format("the CUDA device of rank {} has {} free for each of its {} ranks", share.rank, size, share.ranks);
}

/// Throws InvalidArgument where a rank needs more memory than the node or device that has the least to offer. `held_bytes`: what
/// the optimizer alone needs. Where that is too much already nothing is compiled: kernels are not made for such sizes.
void check_memory(const RunSettings& settings, const Network& network, const ImageTask& task, std::int64_t held_bytes,
                  const MemoryShare& share, Communicator& communicator, const MpiSession& mpi, std::int64_t total_steps) {
  const RunConfig& config = settings.config;
  const auto refuse = [&](std::int64_t wanted_bytes, const std::string& remedy) {
    throw InvalidArgument(
        fmt::format("a rank needs {} of memory, {}: {}", format_bytes(wanted_bytes), describe(share, *settings.devices), remedy));
  };
  constexpr const char* kTooLarge = "the network itself is too large, see --width";
  if (held_bytes > share.size_bytes) refuse(held_bytes, kTooLarge);
  const auto open = [&](const CudaOptions& options) {
    return settings.devices->open(threads_of_rank(config.threads, mpi.core_sharing_ranks()), options);
  };
  const auto needed = [&](std::int64_t batch, Backend& backend) {
    communicator.keep_alive();
    RunConfig with = config;
    with.batch = batch;
    const std::int64_t total_bytes = figures_of(with, network, task, mpi.size(), backend, total_steps).total_bytes;
    // The cache lies in the host's memory, with CUDA not in what the share is of.
    return settings.devices->uses_cuda() ? total_bytes - cache_bytes(config) : total_bytes;
  };
  const std::int64_t wanted = needed(config.batch, *open(cuda_options(config, communicator)));
  if (wanted <= share.size_bytes) return;
  if (!settings.devices->uses_cuda() && wanted - cache_bytes(config) <= share.size_bytes) {
    refuse(wanted, fmt::format("--cache-decoded {} is too much", config.cache_decoded));
  }
  const auto untuned = open({});
  std::int64_t batch = config.batch / 2;
  while (batch > 0 && needed(batch, *untuned) > share.size_bytes) batch /= 2;
  refuse(wanted, batch > 0 ? fmt::format("--batch {} fits", batch) : kTooLarge);
}

/// Throws, on every rank, what setting up the network and its optimizer over all ranks would throw. Collective.
void check_set_up(RunSettings& settings, Communicator& communicator, const MpiSession& mpi) {
  const RunConfig& config = settings.config;
  run_guarded(communicator, [&] { check_device(config.device); });
  settings.devices.emplace(config.device, communicator);
  const MemoryShare of_node =
      smallest_share(communicator, memory_share(available_memory_bytes(), mpi.local_size(), communicator.rank()));
  const MemoryShare share = settings.devices->uses_cuda() ? settings.devices->memory() : of_node;
  run_guarded(communicator, [&] {
    if (communicator.rank() != 0) return;
    const auto data = open_split(config, Split::train);
    const Network network(config, data->task());
    const RunLength length{.dataset_size = data->size(),
                           .global_batch = config.batch * config.accumulate * mpi.size(),
                           .epochs = config.epochs,
                           .steps = config.steps,
                           .start_step = settings.start.step,
                           .start_position = settings.start.position};
    const OptimizerMemory held =
        optimizer_memory(network.parameters(), mpi.size(), optimizer_config(config, length.total_steps()));
    check_memory(settings, network, data->task(), held.total_bytes(), share, communicator, mpi, length.total_steps());
  });
}

void resume_run(const Request& request, Communicator& communicator, const MpiSession& mpi, RunSettings& settings) {
  std::string toml;
  run_guarded(communicator, [&] {
    if (request.config.output.empty()) throw InvalidArgument("--resume wants the run's directory as --output");
    if (!request.config_file.empty()) throw InvalidArgument("--resume takes the run's own configuration, not --config");
    if (communicator.rank() != 0) return;
    settings.directory.require_run();
    toml = settings.directory.read_config();
  });
  toml = broadcast_text(communicator, toml, 0);
  settings.start = find_start(communicator, settings.directory);
  run_guarded(communicator, [&] {
    const RunConfig before = apply_toml(RunConfig{}, toml, settings.directory.config_file());
    settings.config = resolve(apply_arguments(before, request));
    settings.config.output = request.config.output;
    const std::string conflict = resume_conflict(before, settings.config, settings.start.world_size == communicator.size());
    if (!conflict.empty()) throw InvalidArgument(conflict);
  });
  check_set_up(settings, communicator, mpi);
}

void start_run(const Request& request, Communicator& communicator, const MpiSession& mpi, RunSettings& settings) {
  run_guarded(communicator, [&] { settings.config = resolve(request.config); });
  // What is wrong shows before a directory is made.
  check_set_up(settings, communicator, mpi);
  std::string path;
  run_guarded(communicator, [&] {
    if (communicator.rank() != 0) return;
    path = RunDirectory::choose(settings.config, std::chrono::system_clock::now()).string();
    RunDirectory(path).create();
  });
  settings.directory = RunDirectory(broadcast_text(communicator, path, 0));
}

ProgressStyle progress_style(const RunConfig& config) {
  if (config.progress == "bar") return ProgressStyle::bar;
  if (config.progress == "none") return ProgressStyle::none;
  if (config.progress == "plain") return ProgressStyle::plain;
  return prints_to_terminal(process_environment) ? ProgressStyle::bar : ProgressStyle::plain;
}

}  // namespace

ExitCode train(const Request& request, MpiSession& mpi) {
  const std::string lonely = lonely_ranks_error(read_launch_claim(process_environment), mpi.size());
  if (!lonely.empty()) throw InvalidArgument(lonely);
  Communicator* communicator = &mpi.open(request.config.deadline, static_cast<int>(request.config.ranks_per_node));
  RunSettings settings{.config = {}, .directory = RunDirectory(request.config.output)};
  if (request.resume)
    resume_run(request, *communicator, mpi, settings);
  else
    start_run(request, *communicator, mpi, settings);
  const RunConfig& config = settings.config;
  if (config.deadline != request.config.deadline || config.ranks_per_node != request.config.ranks_per_node) {
    communicator = &mpi.open(config.deadline, static_cast<int>(config.ranks_per_node));
  }
  settings.threads = threads_of_rank(config.threads, mpi.core_sharing_ranks());
  settings.style = progress_style(config);
  const StopRequest stop(allocation_end(process_environment), config.save_before);
  TrainingRun run(std::move(settings), *communicator);
  return run.run(stop);
}

}  // namespace minim::command

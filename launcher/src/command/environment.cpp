#include "command/environment.h"

#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <string_view>

namespace minim::command {
namespace {

std::optional<std::int64_t> number(const GetEnvironment& environment, const char* name) {
  const char* text = environment(name);
  if (text == nullptr) return {};
  const std::string_view view(text);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(view.data(), view.data() + view.size(), value);
  if (error != std::errc() || end != view.data() + view.size()) return {};
  return value;
}

}  // namespace

const char* process_environment(const char* name) { return std::getenv(name); }

LaunchClaim read_launch_claim(const GetEnvironment& environment) {
  struct Source {
    const char *size, *rank;
  };
  // The launcher nearest to the process knows best: mpirun inside a Slurm job decides, not the job.
  constexpr Source kSources[] = {{"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"},
                                 {"MINIM_WORLD_SIZE", "MINIM_RANK"},
                                 {"PMI_SIZE", "PMI_RANK"},
                                 {"SLURM_STEP_NUM_TASKS", "SLURM_PROCID"},
                                 {"SLURM_NTASKS", "SLURM_PROCID"}};
  for (const Source& source : kSources) {
    const auto size = number(environment, source.size);
    if (!size) continue;
    const auto rank = number(environment, source.rank);
    return {.rank = static_cast<int>(rank.value_or(0)), .size = static_cast<int>(*size), .variable = source.size};
  }
  return {.rank = static_cast<int>(number(environment, "PMIX_RANK").value_or(0))};
}

std::string lonely_ranks_error(const LaunchClaim& claim, int mpi_size) {
  if (mpi_size > 1 || claim.size <= 1) return {};
  const bool slurm = claim.variable.starts_with("SLURM");
  return fmt::format("{}={} but MPI sees one rank, so each process would train alone: start minim with {}", claim.variable,
                     claim.size,
                     slurm ? "`srun --mpi=pmix` or `mpirun`, or with `srun -n 1` for a single rank"
                           : "the mpirun of the MPI library that it was built with (`minim doctor` names it)");
}

std::optional<std::int64_t> allocation_end(const GetEnvironment& environment) {
  return number(environment, "SLURM_JOB_END_TIME");
}

std::vector<int> available_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cores;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  }
  return cores;
}

std::string format_cores(const std::vector<int>& cores) {
  std::string text;
  for (std::size_t i = 0; i < cores.size();) {
    std::size_t last = i;
    while (last + 1 < cores.size() && cores[last + 1] == cores[last] + 1) ++last;
    if (!text.empty()) text += ',';
    text += last == i ? fmt::format("{}", cores[i]) : fmt::format("{}-{}", cores[i], cores[last]);
    i = last + 1;
  }
  return text;
}

int default_threads(int available, int sharing_ranks) { return std::max(1, available / std::max(1, sharing_ranks)); }

int threads_of_rank(std::int64_t requested, int sharing_ranks) {
  if (requested > 0) return static_cast<int>(requested);
  return default_threads(static_cast<int>(available_cores().size()), sharing_ranks);
}

bool prints_to_terminal(const GetEnvironment& environment) {
  if (isatty(STDOUT_FILENO) == 0 && isatty(STDERR_FILENO) == 0) return false;
  const char* terminal = environment("TERM");
  if (terminal != nullptr && std::string_view(terminal) == "dumb") return false;
  if (environment("OMPI_COMM_WORLD_SIZE") == nullptr) return isatty(STDOUT_FILENO) != 0;
  std::error_code error;
  const auto target = std::filesystem::read_symlink(fmt::format("/proc/{}/fd/1", getppid()), error).string();
  return !error && (target.starts_with("/dev/pts/") || target.starts_with("/dev/tty"));
}

bool has_nvidia_device() {
  std::error_code error;
  return std::filesystem::exists("/dev/nvidia0", error) || std::filesystem::exists("/proc/driver/nvidia/gpus", error);
}

}  // namespace minim::command

#include <fmt/format.h>
#include <omp.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <oneapi/dnnl/dnnl.hpp>

#include <algorithm>
#include <cstring>
#include <map>
#include <span>

#include "command/commands.h"
#include "command/device_survey.h"
#include "command/environment.h"
#include "command/text.h"
#include "minim/runtime/simd.h"

namespace minim::command {
namespace {

/// What a rank says about itself; travels as bytes.
struct RankReport {
  char host[64];
  char cores[128];
  char instructions[16];
  std::int64_t shared_memory_bytes;
  std::int32_t node, available, online, threads, openmp_threads;
};

void copy_text(const std::string& text, std::span<char> field) {
  std::copy_n(text.data(), std::min(text.size(), field.size() - 1), field.data());
}

std::int64_t shared_memory_room_bytes() {
  struct statvfs info {};
  if (statvfs("/dev/shm", &info) != 0) return 0;
  return static_cast<std::int64_t>(info.f_bavail) * static_cast<std::int64_t>(info.f_frsize);
}

RankReport own_report(const Communicator& communicator, const MpiSession& mpi) {
  RankReport report{};
  char host[64] = {};
  gethostname(host, sizeof host - 1);
  copy_text(host, report.host);
  const auto cores = available_cores();
  copy_text(format_cores(cores), report.cores);
  copy_text(std::string(simd::name(simd::instruction_set())), report.instructions);
  report.shared_memory_bytes = shared_memory_room_bytes();
  report.node = communicator.node_of(communicator.rank());
  report.available = static_cast<std::int32_t>(cores.size());
  report.online = static_cast<std::int32_t>(sysconf(_SC_NPROCESSORS_ONLN));
  report.threads = threads_of_rank(0, mpi.core_sharing_ranks());
  report.openmp_threads = omp_get_max_threads();
  return report;
}

std::vector<RankReport> gather(Communicator& communicator, const RankReport& own) {
  std::vector<RankReport> reports(static_cast<std::size_t>(communicator.size()));
  reports[static_cast<std::size_t>(communicator.rank())] = own;
  const auto size_bytes = static_cast<std::int64_t>(reports.size() * sizeof(RankReport));
  communicator.all_gather(TensorView(reports.data(), DType::uint8, Shape{size_bytes}), {.label = "doctor", .after = {}}).wait();
  return reports;
}

std::string describe_gpu(const DeviceReport& device) {
  return device.name.empty() ? "none" : fmt::format("{}: {}", device.device, device.name);
}

/// The devices that ranks would compute on, or why there is none.
std::string describe_cuda(const std::vector<DeviceReport>& devices) {
  const auto found = std::find_if(devices.begin(), devices.end(), [](const auto& device) { return !device.name.empty(); });
  return found == devices.end() ? "no cuda: " + devices.front().reason : "cuda (" + found->name + ")";
}

void print_software(const MpiSession& mpi, const std::vector<DeviceReport>& devices) {
  const dnnl_version_t* onednn = dnnl_version();
  TextTable table;
  table.align_left(1);
  table.add({"MPI", fmt::format("{}, {}", MpiSession::library_version(), mpi.thread_level())});
  table.add({"oneDNN", fmt::format("{}.{}.{}", onednn->major, onednn->minor, onednn->patch)});
  table.add({"OpenMP", fmt::format("version {}", _OPENMP)});
  table.add({"compiler", "g++ " __VERSION__});
  table.add({"backends", "cpu; " + describe_cuda(devices)});
  fmt::print("{}", table.to_string());
}

void print_ranks(const std::vector<RankReport>& reports, const std::vector<DeviceReport>& devices) {
  TextTable table({"rank", "node", "host", "cores", "threads", "instructions", "/dev/shm free", "GPU"});
  for (const std::size_t column : {2U, 3U, 5U, 7U}) table.align_left(column);
  for (std::size_t rank = 0; rank < reports.size(); ++rank) {
    const RankReport& report = reports[rank];
    const std::string cores = fmt::format("{}{}", report.cores, report.available < report.online ? " (bound)" : "");
    table.add({fmt::format("{}", rank), fmt::format("{}", report.node), report.host, cores, fmt::format("{}", report.threads),
               report.instructions, format_bytes(report.shared_memory_bytes), describe_gpu(devices[rank])});
  }
  fmt::print("\n{}", table.to_string());
}

std::vector<std::string> node_warnings(const std::vector<RankReport>& reports) {
  struct Node {
    int ranks = 0, threads = 0, online = 0;
  };
  std::map<int, Node> nodes;
  for (const RankReport& report : reports) {
    Node& node = nodes[report.node];
    ++node.ranks;
    node.threads += report.threads;
    node.online = report.online;
  }
  std::vector<std::string> warnings;
  for (const auto& [index, node] : nodes) {
    if (node.threads <= node.online) continue;
    warnings.push_back(fmt::format("node {}: {} ranks with {} threads in all share {} cores; start at most {} ranks per node",
                                   index, node.ranks, node.threads, node.online, node.online));
  }
  return warnings;
}

std::vector<std::string> rank_warnings(const std::vector<RankReport>& reports) {
  constexpr std::int64_t kWantedBytes = 64 << 20;  // a few buckets of the default size
  std::vector<std::string> warnings;
  for (std::size_t rank = 0; rank < reports.size(); ++rank) {
    const RankReport& report = reports[rank];
    for (std::size_t other = 0; other < rank; ++other) {
      const bool same_core =
          report.node == reports[other].node && report.available == 1 && std::strcmp(report.cores, reports[other].cores) == 0;
      if (same_core) warnings.push_back(fmt::format("ranks {} and {} are bound to the same core {}", other, rank, report.cores));
    }
    if (report.shared_memory_bytes < kWantedBytes) {
      warnings.push_back(fmt::format("rank {}: /dev/shm has {} free; gradients are exchanged through it", rank,
                                     format_bytes(report.shared_memory_bytes)));
    }
    if (std::strcmp(report.instructions, reports.front().instructions) != 0) {
      warnings.push_back(fmt::format("ranks 0 and {} have different instruction sets ({}, {})", rank,
                                     reports.front().instructions, report.instructions));
    }
  }
  return warnings;
}

/// Ranks that find no device although one seems to be there, and ranks that share one.
std::vector<std::string> device_warnings(const std::vector<DeviceReport>& devices) {
  std::vector<std::string> warnings = sharing_warnings(devices);
  const auto has_device = [](const DeviceReport& device) { return !device.name.empty(); };
  const bool any = std::any_of(devices.begin(), devices.end(), has_device);
  for (std::size_t rank = 0; rank < devices.size(); ++rank) {
    if (has_device(devices[rank]) || (!any && !devices[rank].has_gpu)) continue;
    warnings.push_back(fmt::format("rank {} has no CUDA device: {}", rank, devices[rank].reason));
  }
  return warnings;
}

}  // namespace

ExitCode doctor(MpiSession& mpi) {
  constexpr double kDeadlineSeconds = 30;
  Communicator& communicator = mpi.open(kDeadlineSeconds, 0);
  const auto reports = gather(communicator, own_report(communicator, mpi));
  const auto devices = gather_reports(communicator, look_for_device(communicator, /*wanted=*/true));
  const LaunchClaim claim = read_launch_claim(process_environment);
  if (communicator.rank() != 0 || (mpi.size() == 1 && claim.rank != 0)) return ExitCode::finished;
  print_software(mpi, devices);
  fmt::print("\n{} rank{} on {} node{}\n", mpi.size(), mpi.size() > 1 ? "s" : "", communicator.nodes(),
             communicator.nodes() > 1 ? "s" : "");
  print_ranks(reports, devices);
  auto warnings = node_warnings(reports);
  for (auto& warning : rank_warnings(reports)) warnings.push_back(std::move(warning));
  for (auto& warning : device_warnings(devices)) warnings.push_back(std::move(warning));
  const std::string lonely = lonely_ranks_error(claim, mpi.size());
  if (!lonely.empty()) warnings.push_back(lonely);
  for (const std::string& warning : warnings) fmt::print("warning: {}\n", warning);
  return ExitCode::finished;
}

}  // namespace minim::command

#include "command/device_survey.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <span>

#include "command/environment.h"
#include "minim/runtime/cuda.h"

namespace minim::command {
namespace {

/// A report as it travels.
struct Message {
  std::int32_t node, device, has_gpu, has_module;
  std::int64_t free_bytes;
  char name[128], identity[64], reason[1024];
};

void copy_text(const std::string& text, std::span<char> field) {
  std::copy_n(text.data(), std::min(text.size(), field.size() - 1), field.data());
}

Message to_message(const DeviceReport& report) {
  Message message{.node = report.node,
                  .device = report.device,
                  .has_gpu = report.has_gpu,
                  .has_module = report.has_module,
                  .free_bytes = report.free_bytes};
  copy_text(report.name, message.name);
  copy_text(report.identity, message.identity);
  copy_text(report.reason, message.reason);
  return message;
}

DeviceReport from_message(const Message& message) {
  return {.node = message.node,
          .device = message.device,
          .name = message.name,
          .identity = message.identity,
          .reason = message.reason,
          .free_bytes = message.free_bytes,
          .has_gpu = message.has_gpu != 0,
          .has_module = message.has_module != 0};
}

int rank_in_node(const Communicator& communicator) {
  int local = 0;
  for (int rank = 0; rank < communicator.rank(); ++rank) {
    if (communicator.node_of(rank) == communicator.node_of(communicator.rank())) ++local;
  }
  return local;
}

/// How many ranks have each device, by node and identity.
std::map<std::pair<int, std::string>, int> ranks_of_devices(const std::vector<DeviceReport>& reports) {
  std::map<std::pair<int, std::string>, int> ranks;
  for (const DeviceReport& report : reports) {
    if (!report.name.empty()) ++ranks[{report.node, report.identity}];
  }
  return ranks;
}

MemoryShare smallest_device_share(const std::vector<DeviceReport>& reports) {
  auto ranks = ranks_of_devices(reports);
  MemoryShare least;
  for (std::size_t rank = 0; rank < reports.size(); ++rank) {
    if (reports[rank].name.empty()) continue;
    const int sharing = ranks[{reports[rank].node, reports[rank].identity}];
    const MemoryShare share = memory_share(reports[rank].free_bytes, sharing, static_cast<int>(rank));
    if (share.size_bytes < least.size_bytes) least = share;
  }
  return least;
}

InvalidArgument refusal(const std::string& reason) { return InvalidArgument("--device cuda: " + reason); }

}  // namespace

DeviceReport look_for_device(const Communicator& communicator, bool wanted) {
  DeviceReport report{.node = communicator.node_of(communicator.rank())};
  if (!wanted) return report;
  report.has_gpu = has_nvidia_device();
  report.has_module = has_cuda_module();
  const int devices = cuda_device_count(report.reason);
  if (devices == 0) return report;
  report.device = rank_in_node(communicator) % devices;
  try {
    const CudaDeviceInfo info = cuda_device_info(report.device);
    report.name = info.name;
    report.identity = info.identity;
    report.free_bytes = info.free_bytes;
  } catch (const DeviceError& error) {
    report.reason = error.what();
  }
  return report;
}

std::vector<DeviceReport> gather_reports(Communicator& communicator, const DeviceReport& own) {
  std::vector<Message> messages(static_cast<std::size_t>(communicator.size()));
  messages[static_cast<std::size_t>(communicator.rank())] = to_message(own);
  const auto size_bytes = static_cast<std::int64_t>(messages.size() * sizeof(Message));
  communicator.all_gather(TensorView(messages.data(), DType::uint8, Shape{size_bytes}), {.label = "devices", .after = {}}).wait();
  std::vector<DeviceReport> reports;
  for (const Message& message : messages) reports.push_back(from_message(message));
  return reports;
}

std::vector<std::string> sharing_warnings(const std::vector<DeviceReport>& reports) {
  auto ranks = ranks_of_devices(reports);
  std::vector<std::string> warnings;
  for (const DeviceReport& report : reports) {
    int& sharing = ranks[{report.node, report.identity}];
    if (report.name.empty() || sharing < 2) continue;
    warnings.push_back(fmt::format("node {}: {} ranks share CUDA device {} ({}) and compute in turn", report.node, sharing,
                                   report.device, report.name));
    sharing = 0;
  }
  return warnings;
}

DeviceSurvey::DeviceSurvey(const std::string& wanted, const std::vector<DeviceReport>& reports, int rank)
    : own_(reports[static_cast<std::size_t>(rank)]) {
  if (wanted == "cpu") return;
  const auto lacks = std::find_if(reports.begin(), reports.end(), [](const auto& report) { return report.name.empty(); });
  uses_cuda_ = wanted == "cuda" || lacks == reports.end();
  if (uses_cuda_) {
    notices_ = sharing_warnings(reports);
    suits_nccl_ = notices_.empty();
    memory_ = smallest_device_share(reports);
  } else if (std::any_of(reports.begin(), reports.end(),
                         [](const auto& report) { return report.has_gpu || report.has_module; })) {
    const auto which = lacks - reports.begin();
    notices_.push_back(
        fmt::format("computing on the CPU: {}{}", which > 0 ? fmt::format("rank {}: ", which) : "", lacks->reason));
  }
}

DeviceSurvey::DeviceSurvey(const std::string& wanted, Communicator& communicator)
    : DeviceSurvey(wanted, gather_reports(communicator, look_for_device(communicator, wanted != "cpu")), communicator.rank()) {}

std::unique_ptr<Backend> DeviceSurvey::open(int threads, CudaOptions options) const {
  if (!uses_cuda_) return make_cpu_backend(threads);
  if (own_.name.empty()) throw refusal(own_.reason);
  options.device = own_.device;
  return make_cuda_backend(options);
}

CudaOptions cuda_options(const RunConfig& config, Communicator& communicator) {
  return {.graphs = parse_cuda_graphs(config.cuda_graph), .autotune = config.autotune == "on", .at_work = [&communicator] {
            communicator.keep_alive();
          }};
}

void check_device(const std::string& wanted) {
  std::string reason;
  if (wanted == "cuda" && cuda_device_count(reason) == 0) throw refusal(reason);
}

}  // namespace minim::command

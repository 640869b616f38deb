#include "command/interconnect.h"

#include <algorithm>

namespace minim::command {
namespace {

constexpr double kMicrosecond = 1e-6;

struct Layout {
  int local;  ///< ranks of a node
  int nodes;
};

Layout layout_of(const Interconnect& interconnect, int ranks) {
  const int local = std::min(ranks, interconnect.node_size);
  return {.local = local, .nodes = (ranks + local - 1) / local};
}

}  // namespace

double Link::seconds(int steps, double sent_bytes) const {
  const double transfer = sent_bytes / bandwidth;
  return std::min(transfer + steps * step_latency, 2 * transfer + steps * small_step_latency);
}

// Latencies of a step: NCCL 2.28, src/graph/tuning.cc, hwLat of rings with the protocols Simple and LL.
Interconnect interconnect_of(const GpuModel& gpu, double network_gbit) {
  const double large = gpu.has_nvlink ? 3.4 : 5.7;
  const double small = gpu.has_nvlink ? 0.6 : 1.0;
  return {
      .node = {.bandwidth = gpu.link_bandwidth, .step_latency = large * kMicrosecond, .small_step_latency = small * kMicrosecond},
      .network = {
          .bandwidth = network_gbit * 1e9 / 8, .step_latency = 14 * kMicrosecond, .small_step_latency = 2.7 * kMicrosecond}};
}

double ring_seconds(const Interconnect& interconnect, int ranks, std::int64_t message_bytes) {
  const auto [local, nodes] = layout_of(interconnect, ranks);
  const double whole = static_cast<double>(message_bytes);
  const double part = whole / local;
  return interconnect.node.seconds(local - 1, whole * (local - 1) / local) +
         interconnect.network.seconds(nodes - 1, part * (nodes - 1) / nodes);
}

double exchange_seconds(const Interconnect& interconnect, int ranks, std::int64_t message_bytes) {
  const auto [local, nodes] = layout_of(interconnect, ranks);
  const double part = static_cast<double>(message_bytes) / ranks;
  return interconnect.node.seconds(local - 1, part * (local - 1)) +
         interconnect.network.seconds(nodes - 1, part * (ranks - local));
}

}  // namespace minim::command

#pragma once

#include <cstdint>

#include "minim/runtime/gpu_model.h"

namespace minim::command {

/// What a GPU sends through, in one direction. NCCL sends large messages at full bandwidth, and small ones sooner but with a flag
/// beside each word, at half of it; it takes what is faster.
struct Link {
  double bandwidth = 1;     ///< bytes per second
  double step_latency = 0;  ///< seconds of a step of a ring
  double small_step_latency = 0;

  /// Of so many steps that move so much in all.
  double seconds(int steps, double sent_bytes) const;
};

/// How the GPUs of a run reach each other: full nodes, and a network link for each GPU.
struct Interconnect {
  int node_size = 8;
  Link node, network;
};

/// Of such GPUs, with so many Gbit/s per network link.
Interconnect interconnect_of(const GpuModel& gpu, double network_gbit);

/// Seconds of a reduce-scatter or an all-gather of a message by rings on two levels, as half of an all-reduce: within each node,
/// then of each GPU's part between the nodes, all parts at once.
double ring_seconds(const Interconnect& interconnect, int ranks, std::int64_t message_bytes);

/// Seconds in which every rank sends every other one its part of a message.
double exchange_seconds(const Interconnect& interconnect, int ranks, std::int64_t message_bytes);

}  // namespace minim::command

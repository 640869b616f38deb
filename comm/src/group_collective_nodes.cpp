// What a collective does between nodes: see GroupCollective.

#include <cstring>

#include "group_collective.h"
#include "minim/runtime/simd.h"

namespace minim::detail {

Steps GroupCollective::wait_for_exchange() {
  context_.node.set_waits_for_other_nodes(true);
  co_await Exchanged(*context_.transport);
  context_.node.set_waits_for_other_nodes(false);
}

Steps GroupCollective::between_nodes() {
  switch (request_.kind) {
    case CollectiveKind::all_reduce:
      reduce_lane();
      if (in_lane()) co_await exchange_partials();
      if (in_lane()) co_await exchange_slices();
      co_await Arrival(context_.node);
      for (int s = 0; s < slices_.count; ++s) collect(s);
      break;
    case CollectiveKind::reduce_scatter:
      reduce_lane();
      if (in_lane()) co_await exchange_partials();
      co_await Arrival(context_.node);
      collect(me());
      break;
    case CollectiveKind::all_gather:
      if (in_lane()) co_await exchange_slices();
      co_await Arrival(context_.node);
      for (int s = 0; s < slices_.count; ++s) collect(s);
      break;
    case CollectiveKind::broadcast:
      if (in_lane()) co_await exchange_root();
      co_await Arrival(context_.node);
      if (request_.root != me()) collect(0);
      break;
    case CollectiveKind::reduce_scatter_fp32: co_await sum_from_all_ranks(); break;
    case CollectiveKind::all_to_all: co_await all_to_all_between_nodes(); break;
    case CollectiveKind::barrier: break;
  }
}

/// The node's partial sums of this rank's lane, into its own copy, which no peer reads there.
void GroupCollective::reduce_lane() {
  if (!in_lane()) return;
  for (int s = 0; s < slices_.count; ++s) {
    const Range lane = lane_range(s);
    void* const destination = own_shared(s);
    simd::reduce_scaled(shared_sources(s), dtype(), lane.begin, lane.end, scale_, {&destination, 1});
  }
}

/// Each node gets the other nodes' partial sums of its ranks' slices and adds them in the order of the nodes.
Steps GroupCollective::exchange_partials() {
  Transport& transport = *context_.transport;
  const auto& local_ranks = topology().local_ranks();
  for (int r = 0; r < topology().size; ++r) {
    const Range lane = lane_range(r);
    if (topology().is_local(r) || lane.empty()) continue;
    const int to = topology().rank_at(topology().node_of[static_cast<std::size_t>(r)], topology().local_rank);
    transport.send(to, own_shared(r) + bytes(lane.begin), bytes(lane.length()), shared_memory());
  }
  std::int64_t slot_bytes = 0;  // of one partial sum
  for (const int r : local_ranks) slot_bytes = std::max(slot_bytes, round_up(bytes(lane_range(r).length()), kAlignmentBytes));
  std::byte* const slots = received(slot_bytes * static_cast<std::int64_t>(local_ranks.size()) * topology().nodes());
  const auto slot = [&](std::size_t local, int node) {
    return slots + slot_bytes * (static_cast<std::int64_t>(local) * topology().nodes() + node);
  };
  for (std::size_t l = 0; l < local_ranks.size(); ++l) {
    const std::int64_t length = lane_range(local_ranks[l]).length();
    for (int node = 0; node < topology().nodes() && length > 0; ++node) {
      if (node != topology().node)
        transport.receive(topology().rank_at(node, topology().local_rank), slot(l, node), bytes(length), Memory::group);
    }
  }
  co_await wait_for_exchange();
  for (std::size_t l = 0; l < local_ranks.size(); ++l) {
    const Range lane = lane_range(local_ranks[l]);
    void* const own = own_shared(local_ranks[l]) + bytes(lane.begin);
    auto& sources = context_.scratch.sources;
    sources.clear();
    for (int node = 0; node < topology().nodes(); ++node) sources.push_back(node == topology().node ? own : slot(l, node));
    simd::reduce_scaled(sources, dtype(), 0, lane.length(), 1.0F, {&own, 1});
  }
}

/// Each node gets the other nodes' slices: their sums, or what their ranks have to gather.
Steps GroupCollective::exchange_slices() {
  Transport& transport = *context_.transport;
  const bool gathers = request_.kind == CollectiveKind::all_gather;
  for (const int r : topology().local_ranks()) {
    const Range lane = lane_range(r);
    const std::byte* const from = (gathers ? shared(topology().local(r), r) : own_shared(r)) + bytes(lane.begin);
    for (int node = 0; node < topology().nodes() && !lane.empty(); ++node) {
      if (node != topology().node)
        transport.send(topology().rank_at(node, topology().local_rank), from, bytes(lane.length()), shared_memory());
    }
  }
  for (int r = 0; r < topology().size; ++r) {
    const Range lane = lane_range(r);
    if (topology().is_local(r) || lane.empty()) continue;
    const int from = topology().rank_at(topology().node_of[static_cast<std::size_t>(r)], topology().local_rank);
    transport.receive(from, own_shared(r) + bytes(lane.begin), bytes(lane.length()), shared_memory());
  }
  co_await wait_for_exchange();
}

Steps GroupCollective::exchange_root() {
  const Range lane = lane_range(0);
  const int root_node = topology().node_of[static_cast<std::size_t>(request_.root)];
  if (lane.empty()) co_return;
  if (topology().node == root_node) {
    const std::byte* const from = shared(topology().local(request_.root), 0) + bytes(lane.begin);
    for (int node = 0; node < topology().nodes(); ++node) {
      if (node == root_node) continue;
      context_.transport->send(topology().rank_at(node, topology().local_rank), from, bytes(lane.length()), shared_memory());
    }
  } else {
    const int from = topology().rank_at(root_node, topology().local_rank);
    context_.transport->receive(from, own_shared(0) + bytes(lane.begin), bytes(lane.length()), shared_memory());
  }
  co_await wait_for_exchange();
}

/// A slice from where its elements are current on this node: with its owner, or lane by lane with the lanes' ranks.
void GroupCollective::collect(int slice) {
  const bool broadcast = request_.kind == CollectiveKind::broadcast;
  const int owner = broadcast ? request_.root : slice;
  if (request_.kind == CollectiveKind::all_reduce || request_.kind == CollectiveKind::reduce_scatter ||
      !topology().is_local(owner)) {
    collect_from_lanes(slice);
    return;
  }
  if (owner == me()) return;
  std::memcpy(output(slice), shared(topology().local(owner), slice), static_cast<std::size_t>(bytes(range(slice).length())));
}

void GroupCollective::collect_from_lanes(int slice) {
  for (int k = 0; k < topology().lanes; ++k) {
    const Range lane = lane_range(slice, k);
    const std::byte* const from = shared(k, slice) + bytes(lane.begin);
    std::byte* const to = output(slice) + bytes(lane.begin);
    if (from != to && !lane.empty()) std::memcpy(to, from, static_cast<std::size_t>(bytes(lane.length())));
  }
}

/// Contributions from other nodes come rank by rank, so that the sum can be taken over all ranks in their order.
Steps GroupCollective::sum_from_all_ranks() {
  const std::int64_t length = range(me()).length();
  std::byte* const slots = received(bytes(length) * topology().size);
  auto& sources = context_.scratch.sources;
  for (int r = 0; r < topology().size; ++r) {
    if (topology().is_local(r)) continue;
    context_.transport->send(r, input(r), bytes(range(r).length()), Memory::caller);
    context_.transport->receive(r, slots + bytes(length) * r, bytes(length), Memory::group);
  }
  co_await wait_for_exchange();
  sources.clear();
  for (int r = 0; r < topology().size; ++r) {
    sources.push_back(topology().is_local(r) ? shared(topology().local(r), me()) : slots + bytes(length) * r);
  }
  simd::reduce_to_float(sources, dtype(), 0, length, reinterpret_cast<float*>(output(me())));
}

Steps GroupCollective::all_to_all_between_nodes() {
  for (int r = 0; r < topology().size; ++r) {
    if (topology().is_local(r)) continue;
    context_.transport->send(r, input(r), bytes(range(r).length()), Memory::caller);
    context_.transport->receive(r, output(r), bytes(range(r).length()), Memory::caller);
  }
  co_await wait_for_exchange();
  for (int r = 0; r < topology().size; ++r) {
    if (!topology().is_local(r)) continue;
    std::memcpy(output(r), shared(topology().local(r), me()), static_cast<std::size_t>(bytes(range(r).length())));
  }
}

}  // namespace minim::detail

#pragma once

#include <vector>

#include "collective.h"
#include "device_collectives.h"
#include "node.h"
#include "registry.h"
#include "slices.h"
#include "transport.h"

namespace minim::detail {

/// Memory that collectives reuse.
struct Scratch {
  std::vector<std::byte> received;
  std::vector<const void*> sources;
  std::vector<void*> destinations;
};

/// What a collective works with.
struct GroupContext {
  const Topology& topology;
  NodeGroup& node;
  Transport* transport;  ///< null when there is one node
  const Registry& registry;
  Scratch& scratch;
  bool& nodes_meet;            ///< set while this rank waits for all nodes to come to the collective
  DeviceCollectives* device;   ///< null where everything lies in the host's memory
  std::optional<Event>& rest;  ///< set to what the device has still to do
};

/// One collective of a group, from this rank's side.
///
/// Small messages within one node: every rank copies its data into a slot, synchronises once, and reads the others' slots.
/// Everything else: tensors that peers can address are worked on where they lie, others are copied through staging areas piece by
/// piece. With P ranks on a node and n bytes, an all-reduce of addressable tensors synchronises twice; each rank reads n bytes
/// and writes n: its share of the sum into all copies.
///
/// Between nodes each lane carries its share of every slice: partial sums of the node in the wire type go to the node that owns
/// the slice, the sums come back (2 n (N - 1) / N bytes out and in per node, spread over the lanes).
class GroupCollective {
 public:
  GroupCollective(const GroupContext& context, const Request& request, const Signature& signature, std::uint64_t sequence);

  /// Whether the message is small enough for slots.
  bool fits_slot() const;
  Steps through_slots();
  Steps in_pieces();
  Steps on_device();

 private:
  // Agreement.
  void post();
  Steps agree();
  void check_agreement() const;
  Steps agree_between_nodes();
  void choose_access();

  // Slots.
  void fill_slot();
  void read_slots();

  // One piece, within a node.
  void fill_staging();
  Steps within_node();
  Steps all_reduce_within_node();
  Steps reduce_own_slice();
  Steps sum_own_slice();

  // One piece, between nodes.
  Steps between_nodes();
  void reduce_lane();
  Steps exchange_partials();
  Steps exchange_slices();
  Steps exchange_root();
  Steps sum_from_all_ranks();
  Steps all_to_all_between_nodes();
  Steps wait_for_exchange();
  void collect(int slice);
  void collect_from_lanes(int slice);

  bool in_lane() const { return topology().local_rank < topology().lanes; }
  const Topology& topology() const { return context_.topology; }
  int me() const { return context_.topology.rank; }
  DType dtype() const { return request_.input.dtype(); }
  std::int64_t bytes(std::int64_t elements) const { return elements * element_bytes_; }

  Range range(int slice) const { return slices_.range(slice, piece_); }
  /// This rank's or another lane's part of the piece of a slice, counted from the piece's first element.
  Range lane_range(int slice, int lane) const { return part_of(range(slice).length(), topology().lanes, lane); }
  Range lane_range(int slice) const { return lane_range(slice, topology().local_rank); }

  /// The piece of a slice in the copy of a local rank, as all ranks of the node see it.
  std::byte* shared(int local_rank, int slice) const;
  std::byte* own_shared(int slice) const { return shared(topology().local_rank, slice); }
  /// The piece of a slice in this rank's tensors.
  const std::byte* input(int slice) const;
  std::byte* output(int slice) const;
  std::byte* received(std::int64_t size_bytes);
  /// Of what `shared` gives: the node's, or this rank's tensor where it is alone on its node.
  Memory shared_memory() const { return alone_with_tensor_ ? Memory::caller : Memory::group; }

  Steps copy(const std::byte* from, std::byte* to, std::int64_t elements) const;
  std::span<const void* const> shared_sources(int slice);

  GroupContext context_;
  const Request& request_;
  Signature signature_;
  std::uint64_t sequence_;
  std::int64_t element_bytes_;
  float scale_;
  Slices slices_;
  std::int64_t piece_ = 0;
  bool staged_ = false;
  bool alone_with_tensor_ = false;  // of the caller's
  std::vector<std::byte*> bases_;   // by local rank: its tensor, when not staged
};

/// The steps of a collective of a group. `request` outlives them; `sequence` counts the group's collectives.
Steps run_collective(GroupContext context, const Request& request, Signature signature, std::uint64_t sequence);

}  // namespace minim::detail

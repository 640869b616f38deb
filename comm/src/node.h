#pragma once

#include <optional>
#include <string>

#include "segment.h"
#include "steps.h"
#include "topology.h"

namespace minim::detail {

/// The ranks of one node, synchronised through shared memory. Everything is lock-free and waits for nobody: callers poll.
class NodeGroup {
 public:
  NodeGroup(const Topology& topology, Segment segment) : topology_(topology), segment_(std::move(segment)) {}

  const Segment& segment() const { return segment_; }
  const SegmentPart& part(int local_rank) const { return segment_.parts[static_cast<std::size_t>(local_rank)]; }
  int size() const { return topology_.local_size(); }

  /// Shows what this rank is about to do; peers see it after the next synchronisation.
  void post(const Signature& signature, Location location, unsigned parity);
  Location location(int local_rank, unsigned parity) const { return part(local_rank).board->location[parity]; }
  /// The sentence of the error when the ranks of the node have posted different signatures; the same on all of them.
  std::optional<std::string> find_mismatch(unsigned parity) const;

  /// Synchronisation: a rank arrives, then polls until all have. What a rank wrote before it arrived, the others see afterwards.
  void arrive() { own().phase.store(++phase_, std::memory_order_release), arrived_ = 0; }
  bool all_arrived();
  /// Ranks that have not reached this rank's latest synchronisation.
  std::vector<int> missing() const;

  /// While this rank waits for other nodes, its peers do not take it for missing.
  void set_waits_for_other_nodes(bool waits) { own().waits_for_other_nodes.store(waits, std::memory_order_release); }
  bool waits_for_other_nodes(int rank) const { return board_of(rank).waits_for_other_nodes.load(std::memory_order_acquire); }
  /// This rank's device has the input of collective `number` ready.
  void set_device_at(std::uint64_t number) { own().device_at.store(number, std::memory_order_release); }
  /// Ranks whose devices were not seen to be so far.
  std::vector<int> devices_behind(std::uint64_t number) const;
  bool has_left(int rank) const { return board_of(rank).left.load(std::memory_order_acquire); }
  /// Whether the process of a rank has ended, as far as this one can see it.
  bool has_ended(int rank) const;

  /// This rank is at work, or has heard from another node that they are.
  void show_work() { own().work_signs.fetch_add(1, std::memory_order_release); }
  void pass_on_word_of_work() { own().work_words.fetch_add(1, std::memory_order_release); }
  /// Counts over all ranks of the node: they are at work when it moves.
  std::uint64_t work_signs() const { return add_up(&RankBoard::work_signs); }
  std::uint64_t work_words() const { return add_up(&RankBoard::work_words); }

  /// The first failure of a node counts; its reason is what every rank of the node reports. False for the others.
  bool fail(const std::string& reason);
  bool failed() const { return segment_.node->failure.load(std::memory_order_acquire) == NodeBoard::failed; }
  std::string failure_reason() const { return segment_.node->reason; }

  /// Says that this rank's communicator goes away.
  void leave();
  /// True once all ranks have left; false for good when some rank would not wait for that.
  bool all_left() const { return segment_.node->farewell.load(std::memory_order_acquire) == NodeBoard::all_left; }
  bool farewell_given_up() const { return segment_.node->farewell.load(std::memory_order_acquire) == NodeBoard::given_up; }
  void give_up_farewell();

 private:
  RankBoard& own() { return *part(topology_.local_rank).board; }
  std::uint64_t add_up(std::atomic<std::uint64_t> RankBoard::*count) const;
  const RankBoard& board_of(int rank) const { return *part(topology_.local(rank)).board; }

  const Topology& topology_;
  Segment segment_;
  std::uint64_t phase_ = 0;
  int arrived_ = 0;  // local ranks below this have reached phase_
};

/// `co_await Arrival(node)` synchronises the ranks of the node.
class Arrival final : public Until {
 public:
  explicit Arrival(NodeGroup& node) : node_(node) { node_.arrive(); }
  bool ready() override { return node_.all_arrived(); }

 private:
  NodeGroup& node_;
};

}  // namespace minim::detail

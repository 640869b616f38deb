#include "node.h"

#include <algorithm>
#include <cstring>

namespace minim::detail {

void NodeGroup::post(const Signature& signature, Location location, unsigned parity) {
  RankBoard& board = own();
  board.digest[parity] = signature.digest();
  board.location[parity] = location;
  board.signature[parity] = signature;
}

std::optional<std::string> NodeGroup::find_mismatch(unsigned parity) const {
  const RankBoard& first = *part(0).board;
  for (int peer = 1; peer < size(); ++peer) {
    const RankBoard& board = *part(peer).board;
    if (board.digest[parity] == first.digest[parity]) continue;
    return mismatch_text(topology_.local_ranks().front(), first.signature[parity], topology_.rank_at(topology_.node, peer),
                         board.signature[parity]);
  }
  return std::nullopt;
}

bool NodeGroup::all_arrived() {
  while (arrived_ < size() && part(arrived_).board->phase.load(std::memory_order_acquire) >= phase_) ++arrived_;
  return arrived_ == size();
}

std::vector<int> NodeGroup::missing() const {
  std::vector<int> ranks;
  for (const int rank : topology_.local_ranks()) {
    if (board_of(rank).phase.load(std::memory_order_acquire) < phase_) ranks.push_back(rank);
  }
  return ranks;
}

std::vector<int> NodeGroup::devices_behind(std::uint64_t number) const {
  std::vector<int> ranks;
  for (const int rank : topology_.local_ranks()) {
    if (board_of(rank).device_at.load(std::memory_order_acquire) < number) ranks.push_back(rank);
  }
  return ranks;
}

bool NodeGroup::has_ended(int rank) const {
  const ProcessId& self = board_of(topology_.rank).process;
  const ProcessId& peer = board_of(rank).process;
  return self.sees(peer) && detail::has_ended(peer);
}

std::uint64_t NodeGroup::add_up(std::atomic<std::uint64_t> RankBoard::*count) const {
  std::uint64_t sum = 0;
  for (const SegmentPart& part : segment_.parts) sum += (part.board->*count).load(std::memory_order_acquire);
  return sum;
}

bool NodeGroup::fail(const std::string& reason) {
  int expected = NodeBoard::none;
  if (!segment_.node->failure.compare_exchange_strong(expected, NodeBoard::being_written, std::memory_order_acq_rel))
    return false;
  const std::size_t length = std::min(reason.size(), sizeof segment_.node->reason - 1);
  std::memcpy(segment_.node->reason, reason.data(), length);
  segment_.node->reason[length] = '\0';
  segment_.node->failure.store(NodeBoard::failed, std::memory_order_release);
  return true;
}

void NodeGroup::leave() {
  own().left.store(true, std::memory_order_release);
  if (segment_.node->leaving.fetch_add(1, std::memory_order_acq_rel) + 1 < size()) return;
  int expected = NodeBoard::open;
  segment_.node->farewell.compare_exchange_strong(expected, NodeBoard::all_left, std::memory_order_acq_rel);
}

void NodeGroup::give_up_farewell() {
  int expected = NodeBoard::open;
  segment_.node->farewell.compare_exchange_strong(expected, NodeBoard::given_up, std::memory_order_acq_rel);
}

}  // namespace minim::detail

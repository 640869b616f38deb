#pragma once

#include <nccl.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace nccl_double {

enum class Kind : std::int32_t { initialisation, all_reduce, reduce_scatter, all_gather, broadcast, window };

/// What a rank has called, compared over the ranks.
struct Call {
  Kind kind = Kind::initialisation;
  std::uint64_t count = 0;
  std::int32_t type = 0;
  std::int32_t operation = 0;  ///< ncclNumOps for a sum that scales first
  std::int32_t root = 0;
  std::int32_t in_windows = 0;  ///< whether all of it lies in memory that is registered as a window

  bool operator==(const Call&) const = default;
};

inline constexpr int kMostRanks = 16;
inline constexpr std::size_t kChunkBytes = 64 << 10;
inline constexpr std::size_t kPairBytes = 16 << 10;

/// What a rank shows to the others.
struct Member {
  std::atomic<int> process{0};
  char device[16] = {};  ///< the identity of its device
  Call call;             ///< of what the stream runs
  Call host_calls[2];    ///< of what the hosts meet for, by the parity of the meeting: some have gone on while others compare
  float scale = 1;
  char chunk[kChunkBytes];
};

/// Bytes on their way from one rank to another.
struct Pair {
  std::atomic<std::uint32_t> full{0};
  std::uint64_t message_bytes = 0;
  std::uint64_t piece_bytes = 0;
  char piece[kPairBytes];
};

/// The memory that the ranks of a communicator share. All zero at first.
struct SharedMemory {
  std::atomic<std::uint64_t> host_arrivals;
  std::atomic<std::uint64_t> device_arrivals;
  Member members[kMostRanks];
  Pair pairs[kMostRanks][kMostRanks];  ///< [from][to]
};

/// A communicator's group from the side of one of its ranks.
class SharedGroup {
 public:
  /// `name` is of POSIX shared memory, made by the first to come.
  SharedGroup(const std::string& name, int rank, int size, const char* device);
  ~SharedGroup();
  SharedGroup(const SharedGroup&) = delete;
  SharedGroup& operator=(const SharedGroup&) = delete;

  /// All have come: nobody looks for the memory by its name any more.
  void forget_name() const;

  int rank() const { return rank_; }
  int size() const { return size_; }
  Member& member(int rank) { return memory_->members[rank]; }
  Member& own() { return member(rank_); }
  Pair& pair(int from, int to) { return memory_->pairs[from][to]; }

  // Meetings of the hosts: arrive, then poll.
  void arrive(const Call& call);
  bool all_arrived() const { return memory_->host_arrivals >= host_meetings_ * static_cast<std::uint64_t>(size_); }

  const Call& host_call(int rank) { return member(rank).host_calls[host_meetings_ % 2]; }

  /// Waits, in the order of a stream, until all ranks are here. False when that will not be: see `wait_until`.
  bool meet();
  /// Waits until `holds`. False when the communicator has been aborted here, or a rank's process has ended.
  bool wait_until(const std::function<bool()>& holds);

  void abort() { aborted_ = true; }
  bool aborted() const { return aborted_; }
  bool lost_peer() const { return lost_peer_; }

 private:
  bool find_lost_peer();

  SharedMemory* memory_ = nullptr;
  std::string name_;
  int rank_, size_;
  std::uint64_t host_meetings_ = 0, device_meetings_ = 0;
  std::atomic<bool> aborted_{false}, lost_peer_{false};
};

}  // namespace nccl_double

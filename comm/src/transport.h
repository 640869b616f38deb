#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "steps.h"

namespace minim::detail {

/// Word from another node about trouble there. A plain record, sent as it is.
struct Notice {
  enum class Kind : std::uint8_t {
    failure,  ///< the group has failed: `text` is the reason
    missing,  ///< ranks that rank `from` waits for in collective number `sequence`
    at_work,  ///< the answer: somebody on the node of rank `from` is at work and will come
    devices,  ///< of the node of rank `from`, those of `ranks` have not come to collective number `sequence`, all others have
  };
  static constexpr int kMostRanks = 32;

  Kind kind = Kind::failure;
  std::int32_t from = 0;
  std::int32_t rank_count = 0;
  std::int32_t ranks[kMostRanks] = {};
  std::uint64_t sequence = 0;
  char text[1024] = {};
};

/// Whose memory a message lies in.
enum class Memory : std::uint8_t {
  caller,  ///< may go, or serve for something else, once the group has failed
  group,   ///< stays for as long as messages of a failed group may still use it, see Transport::abandon
};

/// Messages between ranks of different nodes. Sends and receives between two ranks match in their order. Nothing blocks.
class Transport {
 public:
  virtual ~Transport() = default;

  /// The memory stays as it is until `complete()`.
  virtual void send(int to, const void* data, std::int64_t size_bytes, Memory memory) = 0;
  virtual void receive(int from, void* data, std::int64_t size_bytes, Memory memory) = 0;
  /// Polls: whether everything sent and received so far is through. Throws CommError.
  virtual bool complete() = 0;
  /// Ranks that something is still to be received from.
  virtual std::vector<int> awaited() const = 0;
  /// Whether nothing will ever come from that rank again: its process has ended or its communicator has gone. False where the
  /// transport cannot tell.
  virtual bool lost(int /*rank*/) const { return false; }

  virtual void notify(int to, const Notice& notice) = 0;
  virtual std::optional<Notice> poll_notice() = 0;
  /// Forgets what is under way, after a failure: no memory of the caller's is touched any more. Memory of the group's goes to
  /// `keep` instead of being freed.
  virtual void abandon() noexcept = 0;
  /// Keeps memory for as long as messages that were abandoned may use it.
  virtual void keep(std::shared_ptr<const void> memory) noexcept = 0;
};

/// `co_await Exchanged(transport)` waits until everything sent and received so far is through.
class Exchanged final : public Until {
 public:
  explicit Exchanged(Transport& transport) : transport_(transport) {}
  bool ready() override { return transport_.complete(); }

 private:
  Transport& transport_;
};

}  // namespace minim::detail

#pragma once

#include <deque>

#include "descriptor.h"
#include "transport.h"

namespace minim::detail {

/// Messages over a TCP connection to each other rank. A message or notice travels as a frame: a head that says what follows.
class TcpTransport final : public Transport {
 public:
  /// `peers` by rank; none at this rank's place.
  explicit TcpTransport(std::vector<Descriptor> peers);
  ~TcpTransport() override;

  void send(int to, const void* data, std::int64_t size_bytes, Memory memory) override;
  void receive(int from, void* data, std::int64_t size_bytes, Memory memory) override;
  bool complete() override;
  std::vector<int> awaited() const override;
  void notify(int to, const Notice& notice) override;
  std::optional<Notice> poll_notice() override;
  bool lost(int rank) const override { return peer(rank).lost; }
  void abandon() noexcept override;
  void keep(std::shared_ptr<const void> /*memory*/) noexcept override {}  // nothing is used after `abandon`

 private:
  struct Head {
    enum class Kind : std::int64_t { message, notice };
    Kind kind = Kind::message;
    std::int64_t size_bytes = 0;
  };
  struct Outgoing {
    Head head;
    const std::byte* data = nullptr;
    std::vector<std::byte> own;   ///< holds `data` where it is not the caller's
    std::int64_t sent_bytes = 0;  ///< head included
  };
  struct Receiving {
    void* data = nullptr;
    std::int64_t size_bytes = 0;
  };
  /// The frame that is arriving.
  struct Incoming {
    Head head;
    std::byte* data = nullptr;
    bool goes_to_receiver = false;  ///< `data` is of the first of `receives`, not in `own`
    std::vector<std::byte> own;
    std::int64_t received_bytes = 0;  ///< head included
  };
  struct Peer {
    Descriptor socket;
    bool deaf = false;  ///< nothing can be sent any more
    bool lost = false;  ///< nothing will come any more
    std::deque<Outgoing> outgoing;
    std::deque<Receiving> receives;            ///< that have been asked for
    std::deque<std::vector<std::byte>> early;  ///< messages that came before they were asked for
    Incoming incoming;
  };

  Peer& peer(int rank) { return peers_[static_cast<std::size_t>(rank)]; }
  const Peer& peer(int rank) const { return peers_[static_cast<std::size_t>(rank)]; }
  static void write(Peer& peer);
  void read(int rank);
  static void begin_body(int rank, Peer& peer);
  void finish_frame(int rank, Peer& peer);

  std::vector<Peer> peers_;  // by rank
  std::deque<Notice> notices_;
};

}  // namespace minim::detail

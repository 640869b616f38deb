#include "tcp_transport.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "minim/runtime/error.h"

namespace minim::detail {
namespace {

bool would_wait(int error) { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR; }

void check_size(int from, std::int64_t found_bytes, std::int64_t wanted_bytes) {
  if (found_bytes == wanted_bytes) return;
  throw CommError(fmt::format("a message from rank {} has {} bytes, {} were expected", from, found_bytes, wanted_bytes));
}

}  // namespace

TcpTransport::TcpTransport(std::vector<Descriptor> peers) : peers_(peers.size()) {
  for (std::size_t rank = 0; rank < peers.size(); ++rank) peers_[rank].socket = std::move(peers[rank]);
}

/// What has arrived is taken out of the sockets: closing one that holds something takes back what it still has to send.
TcpTransport::~TcpTransport() {
  std::byte dropped[4096];
  for (const Peer& peer : peers_) {
    if (!peer.socket) continue;
    ::shutdown(peer.socket.get(), SHUT_WR);
    while (::recv(peer.socket.get(), dropped, sizeof dropped, MSG_DONTWAIT) > 0) {
    }
  }
}

void TcpTransport::send(int to, const void* data, std::int64_t size_bytes, Memory /*memory*/) {
  Outgoing message{.head = {.kind = Head::Kind::message, .size_bytes = size_bytes}, .data = static_cast<const std::byte*>(data)};
  peer(to).outgoing.push_back(std::move(message));
  write(peer(to));
}

void TcpTransport::receive(int from, void* data, std::int64_t size_bytes, Memory /*memory*/) {
  Peer& sender = peer(from);
  if (sender.early.empty()) {
    sender.receives.push_back({data, size_bytes});
    return;
  }
  const std::vector<std::byte> message = std::move(sender.early.front());
  sender.early.pop_front();
  check_size(from, static_cast<std::int64_t>(message.size()), size_bytes);
  if (size_bytes > 0) std::memcpy(data, message.data(), message.size());
}

bool TcpTransport::complete() {
  bool complete = true;
  for (int rank = 0; rank < static_cast<int>(peers_.size()); ++rank) {
    Peer& other = peer(rank);
    write(other);
    if (!other.receives.empty()) read(rank);
    complete = complete && other.outgoing.empty() && other.receives.empty();
  }
  return complete;
}

std::vector<int> TcpTransport::awaited() const {
  std::vector<int> ranks;
  for (int rank = 0; rank < static_cast<int>(peers_.size()); ++rank) {
    if (!peer(rank).receives.empty()) ranks.push_back(rank);
  }
  return ranks;
}

void TcpTransport::notify(int to, const Notice& notice) {
  Outgoing frame{.head = {.kind = Head::Kind::notice, .size_bytes = sizeof notice}, .own = std::vector<std::byte>(sizeof notice)};
  std::memcpy(frame.own.data(), &notice, sizeof notice);
  frame.data = frame.own.data();
  peer(to).outgoing.push_back(std::move(frame));
  write(peer(to));
}

std::optional<Notice> TcpTransport::poll_notice() {
  if (notices_.empty()) {
    for (int rank = 0; rank < static_cast<int>(peers_.size()); ++rank) {
      write(peer(rank));
      read(rank);
    }
  }
  if (notices_.empty()) return std::nullopt;
  const Notice notice = notices_.front();
  notices_.pop_front();
  return notice;
}

void TcpTransport::abandon() noexcept {
  for (Peer& other : peers_) {
    for (Outgoing& frame : other.outgoing) {  // a frame that has begun must be ended
      if (!frame.own.empty() || frame.head.size_bytes == 0) continue;
      frame.own.assign(frame.data, frame.data + frame.head.size_bytes);
      frame.data = frame.own.data();
    }
    Incoming& arriving = other.incoming;
    if (arriving.goes_to_receiver) {
      arriving.goes_to_receiver = false;
      arriving.own.resize(static_cast<std::size_t>(arriving.head.size_bytes));
      arriving.data = arriving.own.data();
    }
    other.receives.clear();
    other.early.clear();
  }
}

void TcpTransport::write(Peer& peer) {
  while (!peer.outgoing.empty() && !peer.deaf) {
    Outgoing& frame = peer.outgoing.front();
    constexpr auto kHeadBytes = static_cast<std::int64_t>(sizeof(Head));
    const bool in_head = frame.sent_bytes < kHeadBytes;
    const auto* const from = in_head ? reinterpret_cast<const std::byte*>(&frame.head) + frame.sent_bytes
                                     : frame.data + (frame.sent_bytes - kHeadBytes);
    const std::int64_t left = (in_head ? kHeadBytes : kHeadBytes + frame.head.size_bytes) - frame.sent_bytes;
    if (left > 0) {
      const int more = in_head && frame.head.size_bytes > 0 ? MSG_MORE : 0;  // head and body in one packet
      const ssize_t sent = ::send(peer.socket.get(), from, static_cast<std::size_t>(left), MSG_DONTWAIT | MSG_NOSIGNAL | more);
      if (sent < 0 && would_wait(errno)) return;
      peer.deaf = sent < 0;
      frame.sent_bytes += std::max<ssize_t>(sent, 0);
    }
    if (frame.sent_bytes == kHeadBytes + frame.head.size_bytes) peer.outgoing.pop_front();
  }
  if (peer.deaf) peer.outgoing.clear();  // what the peer has sent before it went is still read
}

void TcpTransport::read(int rank) {
  Peer& other = peer(rank);
  constexpr auto kHeadBytes = static_cast<std::int64_t>(sizeof(Head));
  while (other.socket && !other.lost) {
    Incoming& frame = other.incoming;
    const bool in_head = frame.received_bytes < kHeadBytes;
    auto* const to = in_head ? reinterpret_cast<std::byte*>(&frame.head) + frame.received_bytes
                             : frame.data + (frame.received_bytes - kHeadBytes);
    const std::int64_t left = (in_head ? kHeadBytes : kHeadBytes + frame.head.size_bytes) - frame.received_bytes;
    if (left > 0) {
      const ssize_t got = ::recv(other.socket.get(), to, static_cast<std::size_t>(left), MSG_DONTWAIT);
      if (got < 0 && would_wait(errno)) return;
      other.lost = got <= 0;
      frame.received_bytes += std::max<ssize_t>(got, 0);
      if (other.lost) return;
    }
    if (in_head && frame.received_bytes == kHeadBytes) begin_body(rank, other);
    if (frame.received_bytes == kHeadBytes + frame.head.size_bytes) finish_frame(rank, other);
  }
}

/// A message that has been asked for goes straight where it belongs.
void TcpTransport::begin_body(int rank, Peer& peer) {
  Incoming& frame = peer.incoming;
  frame.goes_to_receiver = frame.head.kind == Head::Kind::message && !peer.receives.empty();
  if (frame.goes_to_receiver) {
    check_size(rank, frame.head.size_bytes, peer.receives.front().size_bytes);
    frame.data = static_cast<std::byte*>(peer.receives.front().data);
  } else {
    frame.own.resize(static_cast<std::size_t>(frame.head.size_bytes));
    frame.data = frame.own.data();
  }
}

void TcpTransport::finish_frame(int rank, Peer& peer) {
  Incoming frame = std::exchange(peer.incoming, {});
  if (frame.head.kind == Head::Kind::notice) {
    Notice& notice = notices_.emplace_back();
    std::memcpy(static_cast<void*>(&notice), frame.own.data(), std::min(frame.own.size(), sizeof notice));
  } else if (frame.goes_to_receiver) {
    peer.receives.pop_front();
  } else {
    peer.early.push_back(std::move(frame.own));
    if (peer.receives.empty()) return;
    const Receiving asked = peer.receives.front();  // while the message was arriving
    peer.receives.pop_front();
    receive(rank, asked.data, asked.size_bytes, Memory::caller);
  }
}

}  // namespace minim::detail

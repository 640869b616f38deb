#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>

#include "transport.h"

namespace minim::detail {

/// Mailboxes between ranks that are threads of one process. The receiver copies straight from the sender's memory.
class MailboxFabric {
 public:
  explicit MailboxFabric(int size);

 private:
  friend class MailboxTransport;
  struct Message {
    const void* data = nullptr;
    std::int64_t size_bytes = 0;
    std::atomic<bool> taken{false};
  };
  struct Box {
    std::mutex mutex;
    std::deque<std::shared_ptr<Message>> messages;
  };
  struct NoticeBox {
    std::mutex mutex;
    std::deque<Notice> notices;
  };
  Box& box(int from, int to) { return boxes_[static_cast<std::size_t>(from * size_ + to)]; }

  int size_;
  std::vector<Box> boxes_;
  std::vector<NoticeBox> notices_;
};

class MailboxTransport final : public Transport {
 public:
  MailboxTransport(std::shared_ptr<MailboxFabric> fabric, int rank) : fabric_(std::move(fabric)), rank_(rank) {}
  ~MailboxTransport() override { abandon(); }

  void send(int to, const void* data, std::int64_t size_bytes, Memory memory) override;
  void receive(int from, void* data, std::int64_t size_bytes, Memory memory) override;
  bool complete() override;
  std::vector<int> awaited() const override;
  void notify(int to, const Notice& notice) override;
  std::optional<Notice> poll_notice() override;
  void abandon() noexcept override;
  void keep(std::shared_ptr<const void> /*memory*/) noexcept override {}  // nothing is used after `abandon`

 private:
  struct Sending {
    int to;
    std::shared_ptr<MailboxFabric::Message> message;
  };
  struct Receiving {
    int from;
    void* data;
    std::int64_t size_bytes;
  };
  bool try_receive(const Receiving& receiving);

  std::shared_ptr<MailboxFabric> fabric_;
  int rank_;
  std::vector<Sending> sending_;
  std::vector<Receiving> receiving_;
};

}  // namespace minim::detail

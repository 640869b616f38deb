#include "mailbox_transport.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "minim/runtime/error.h"

namespace minim::detail {

MailboxFabric::MailboxFabric(int size)
    : size_(size),
      boxes_(static_cast<std::size_t>(size) * static_cast<std::size_t>(size)),
      notices_(static_cast<std::size_t>(size)) {}

void MailboxTransport::send(int to, const void* data, std::int64_t size_bytes, Memory /*memory*/) {
  auto message = std::make_shared<MailboxFabric::Message>();
  message->data = data;
  message->size_bytes = size_bytes;
  auto& box = fabric_->box(rank_, to);
  const std::scoped_lock lock(box.mutex);
  box.messages.push_back(message);
  sending_.push_back({to, std::move(message)});
}

void MailboxTransport::receive(int from, void* data, std::int64_t size_bytes, Memory /*memory*/) {
  receiving_.push_back({from, data, size_bytes});
}

bool MailboxTransport::try_receive(const Receiving& receiving) {
  auto& box = fabric_->box(receiving.from, rank_);
  const std::scoped_lock lock(box.mutex);
  if (box.messages.empty()) return false;
  MailboxFabric::Message& message = *box.messages.front();
  if (message.size_bytes != receiving.size_bytes) {
    throw CommError(fmt::format("a message from rank {} has {} bytes, {} were expected", receiving.from, message.size_bytes,
                                receiving.size_bytes));
  }
  if (message.size_bytes > 0) std::memcpy(receiving.data, message.data, static_cast<std::size_t>(message.size_bytes));
  message.taken.store(true, std::memory_order_release);
  box.messages.pop_front();
  return true;
}

bool MailboxTransport::complete() {
  std::vector<Receiving> still;
  for (const Receiving& receiving : receiving_) {
    const bool behind = std::any_of(still.begin(), still.end(), [&](const Receiving& r) { return r.from == receiving.from; });
    if (behind || !try_receive(receiving)) still.push_back(receiving);
  }
  receiving_ = std::move(still);
  std::erase_if(sending_, [](const Sending& s) { return s.message->taken.load(std::memory_order_acquire); });
  return receiving_.empty() && sending_.empty();
}

std::vector<int> MailboxTransport::awaited() const {
  std::vector<int> ranks;
  for (const Receiving& receiving : receiving_) ranks.push_back(receiving.from);
  for (const Sending& sending : sending_) ranks.push_back(sending.to);
  std::sort(ranks.begin(), ranks.end());
  ranks.erase(std::unique(ranks.begin(), ranks.end()), ranks.end());
  return ranks;
}

void MailboxTransport::notify(int to, const Notice& notice) {
  auto& box = fabric_->notices_[static_cast<std::size_t>(to)];
  const std::scoped_lock lock(box.mutex);
  box.notices.push_back(notice);
}

std::optional<Notice> MailboxTransport::poll_notice() {
  auto& box = fabric_->notices_[static_cast<std::size_t>(rank_)];
  const std::scoped_lock lock(box.mutex);
  if (box.notices.empty()) return std::nullopt;
  const Notice notice = box.notices.front();
  box.notices.pop_front();
  return notice;
}

void MailboxTransport::abandon() noexcept {
  receiving_.clear();
  for (const Sending& sending : sending_) {
    auto& box = fabric_->box(rank_, sending.to);
    const std::scoped_lock lock(box.mutex);  // a receiver in the middle of copying holds it
    std::erase(box.messages, sending.message);
  }
  sending_.clear();
}

}  // namespace minim::detail

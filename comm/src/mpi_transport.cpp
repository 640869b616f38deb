#include "mpi_transport.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>

#include "minim/runtime/memory.h"
#include "mpi_check.h"

namespace minim::detail {
namespace {

enum Tag : int { kData = 1, kNotice = 2 };

bool mpi_is_down() {
  int finalized = 0;
  return MPI_Finalized(&finalized) != MPI_SUCCESS || finalized != 0;
}

/// Messages start on cache lines.
constexpr std::int64_t kMessageAlignment = 64;
constexpr std::int64_t kBlockBytes = std::int64_t{1} << 20;

}  // namespace

std::byte* MessageMemory::take(std::int64_t size_bytes) {
  while (block_ < blocks_.size() && used_bytes_ + size_bytes > blocks_[block_].size_bytes) {
    ++block_;
    used_bytes_ = 0;
  }
  if (block_ == blocks_.size()) {
    const std::int64_t block_bytes = std::max(size_bytes, kBlockBytes);
    blocks_.push_back({std::make_unique_for_overwrite<std::byte[]>(static_cast<std::size_t>(block_bytes)), block_bytes});
  }
  std::byte* const taken = blocks_[block_].data.get() + used_bytes_;
  used_bytes_ = round_up(used_bytes_ + size_bytes, kMessageAlignment);
  return taken;
}

void MessageMemory::reset() {
  block_ = 0;
  used_bytes_ = 0;
}

void leave_to_mpi(std::shared_ptr<const void> memory) noexcept {
  static std::mutex mutex;
  static auto* const kept = new std::vector<std::shared_ptr<const void>>;  // never destroyed: MPI may be finalized later
  const std::scoped_lock lock(mutex);
  kept->push_back(std::move(memory));
}

MpiTransport::MpiTransport(MPI_Comm comm) : comm_(comm) { expect_notice(); }

MpiTransport::~MpiTransport() {
  if (mpi_is_down()) return;
  abandon();
  forget_sent_notices();
  for (Outgoing& outgoing : notices_) {
    MPI_Request_free(&outgoing.request);
    leave_to_mpi(std::move(outgoing.notice));
  }
  MPI_Cancel(&incoming_request_);
  int done = 0;
  MPI_Test(&incoming_request_, &done, MPI_STATUS_IGNORE);
  if (done != 0) return;
  MPI_Request_free(&incoming_request_);
  leave_to_mpi(std::move(incoming_));
}

void MpiTransport::send(int to, const void* data, std::int64_t size_bytes, Memory memory) {
  if (memory == Memory::caller) {
    std::byte* const copy = memory_->take(size_bytes);
    if (size_bytes > 0) std::memcpy(copy, data, static_cast<std::size_t>(size_bytes));
    data = copy;
  }
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Isend(data, static_cast<int>(size_bytes), MPI_BYTE, to, kData, comm_, &request), "MPI_Isend");
  requests_.push_back(request);
  peers_.push_back(to);
}

void MpiTransport::receive(int from, void* data, std::int64_t size_bytes, Memory memory) {
  if (memory == Memory::caller) {
    std::byte* const copy = memory_->take(size_bytes);
    copies_.push_back({copy, data, size_bytes});
    data = copy;
  }
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Irecv(data, static_cast<int>(size_bytes), MPI_BYTE, from, kData, comm_, &request), "MPI_Irecv");
  requests_.push_back(request);
  peers_.push_back(from);
}

bool MpiTransport::complete() {
  int done = 0;
  check_mpi(MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &done, MPI_STATUSES_IGNORE), "MPI_Testall");
  if (done == 0) return false;
  for (const Copy& copy : copies_) {
    if (copy.size_bytes > 0) std::memcpy(copy.to, copy.from, static_cast<std::size_t>(copy.size_bytes));
  }
  copies_.clear();
  requests_.clear();
  peers_.clear();
  memory_->reset();
  return true;
}

std::vector<int> MpiTransport::awaited() const {
  std::vector<int> ranks;
  for (std::size_t i = 0; i < requests_.size(); ++i) {
    int done = 0;
    if (MPI_Request_get_status(requests_[i], &done, MPI_STATUS_IGNORE) == MPI_SUCCESS && done == 0) ranks.push_back(peers_[i]);
  }
  std::sort(ranks.begin(), ranks.end());
  ranks.erase(std::unique(ranks.begin(), ranks.end()), ranks.end());
  return ranks;
}

void MpiTransport::notify(int to, const Notice& notice) {
  forget_sent_notices();
  Outgoing outgoing{.notice = std::make_shared<const Notice>(notice)};
  check_mpi(MPI_Isend(outgoing.notice.get(), sizeof notice, MPI_BYTE, to, kNotice, comm_, &outgoing.request), "MPI_Isend");
  notices_.push_back(std::move(outgoing));
}

void MpiTransport::forget_sent_notices() {
  std::erase_if(notices_, [](Outgoing& outgoing) {
    int done = 0;
    return MPI_Test(&outgoing.request, &done, MPI_STATUS_IGNORE) == MPI_SUCCESS && done != 0;
  });
}

std::optional<Notice> MpiTransport::poll_notice() {
  int arrived = 0;
  check_mpi(MPI_Test(&incoming_request_, &arrived, MPI_STATUS_IGNORE), "MPI_Test");
  if (arrived == 0) return std::nullopt;
  const Notice notice = *incoming_;
  expect_notice();
  return notice;
}

void MpiTransport::expect_notice() {
  check_mpi(MPI_Irecv(incoming_.get(), sizeof(Notice), MPI_BYTE, MPI_ANY_SOURCE, kNotice, comm_, &incoming_request_),
            "MPI_Irecv");
}

void MpiTransport::abandon() noexcept {
  bool used = false;
  for (MPI_Request& request : requests_) {
    if (request == MPI_REQUEST_NULL) continue;
    MPI_Cancel(&request);  // what nobody has matched; the rest takes its course
    MPI_Request_free(&request);
    used = true;
  }
  requests_.clear();
  peers_.clear();
  copies_.clear();
  if (!used) return memory_->reset();
  leave_to_mpi(std::move(memory_));
  memory_ = std::make_shared<MessageMemory>();
}

}  // namespace minim::detail

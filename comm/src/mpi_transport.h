#pragma once

#include <mpi.h>

#include "transport.h"

namespace minim::detail {

/// Memory for messages of one exchange: blocks that stay where they are until `reset`.
class MessageMemory {
 public:
  std::byte* take(std::int64_t size_bytes);
  void reset();

 private:
  struct Block {
    std::unique_ptr<std::byte[]> data;
    std::int64_t size_bytes = 0;
  };
  std::vector<Block> blocks_;
  std::size_t block_ = 0;  // that is being filled
  std::int64_t used_bytes_ = 0;
};

/// Keeps memory that MPI may use until it is finalized, which is for good.
void leave_to_mpi(std::shared_ptr<const void> memory) noexcept;

/// Messages over an MPI communicator that nobody else uses. MPI is called from the calling thread only and never waits.
///
/// MPI cannot take back a message that has met its match: it goes on to use the memory whenever it gets to it, also when the
/// request has been freed. So MPI never sees memory of the caller's: messages go through memory of the transport's own, which is
/// left to MPI when something in it was abandoned. Messages are pieces of a few megabytes at most, so the copies stay in the
/// cache.
class MpiTransport final : public Transport {
 public:
  explicit MpiTransport(MPI_Comm comm);
  ~MpiTransport() override;

  void send(int to, const void* data, std::int64_t size_bytes, Memory memory) override;
  void receive(int from, void* data, std::int64_t size_bytes, Memory memory) override;
  bool complete() override;
  std::vector<int> awaited() const override;
  void notify(int to, const Notice& notice) override;
  std::optional<Notice> poll_notice() override;
  void abandon() noexcept override;
  void keep(std::shared_ptr<const void> memory) noexcept override { leave_to_mpi(std::move(memory)); }

 private:
  struct Copy {
    const std::byte* from;
    void* to;
    std::int64_t size_bytes;
  };
  struct Outgoing {
    MPI_Request request = MPI_REQUEST_NULL;
    std::shared_ptr<const Notice> notice;
  };
  void expect_notice();
  void forget_sent_notices();

  MPI_Comm comm_;
  std::vector<MPI_Request> requests_;
  std::vector<int> peers_;    // of requests_
  std::vector<Copy> copies_;  // of what has been received for callers
  std::shared_ptr<MessageMemory> memory_ = std::make_shared<MessageMemory>();
  std::vector<Outgoing> notices_;
  std::shared_ptr<Notice> incoming_ = std::make_shared<Notice>();
  MPI_Request incoming_request_ = MPI_REQUEST_NULL;
};

}  // namespace minim::detail

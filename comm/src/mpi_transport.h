#pragma once

#include <mpi.h>

#include "transport.h"

namespace minim::detail {

/// Messages over an MPI communicator that nobody else uses. MPI is called from the calling thread only and never waits.
class MpiTransport final : public Transport {
 public:
  explicit MpiTransport(MPI_Comm comm);
  ~MpiTransport() override;

  void send(int to, const void* data, std::int64_t size_bytes) override;
  void receive(int from, void* data, std::int64_t size_bytes) override;
  bool complete() override;
  std::vector<int> awaited() const override;
  void notify(int to, const Notice& notice) override;
  std::optional<Notice> poll_notice() override;
  void abandon() noexcept override;

 private:
  void expect_notice();

  MPI_Comm comm_;
  std::vector<MPI_Request> requests_;
  std::vector<int> peers_;  // of requests_
  Notice incoming_;
  MPI_Request incoming_request_ = MPI_REQUEST_NULL;
};

}  // namespace minim::detail

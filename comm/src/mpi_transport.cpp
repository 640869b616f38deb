#include "mpi_transport.h"

#include <algorithm>
#include <memory>

#include "mpi_check.h"

namespace minim::detail {
namespace {

enum Tag : int { kData = 1, kNotice = 2 };

bool mpi_is_down() {
  int finalized = 0;
  return MPI_Finalized(&finalized) != MPI_SUCCESS || finalized != 0;
}

void cancel(MPI_Request& request) {
  if (request == MPI_REQUEST_NULL) return;
  MPI_Cancel(&request);
  MPI_Request_free(&request);
}

}  // namespace

MpiTransport::MpiTransport(MPI_Comm comm) : comm_(comm) { expect_notice(); }

MpiTransport::~MpiTransport() {
  if (mpi_is_down()) return;
  abandon();
  cancel(incoming_request_);
}

void MpiTransport::send(int to, const void* data, std::int64_t size_bytes) {
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Isend(data, static_cast<int>(size_bytes), MPI_BYTE, to, kData, comm_, &request), "MPI_Isend");
  requests_.push_back(request);
  peers_.push_back(to);
}

void MpiTransport::receive(int from, void* data, std::int64_t size_bytes) {
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Irecv(data, static_cast<int>(size_bytes), MPI_BYTE, from, kData, comm_, &request), "MPI_Irecv");
  requests_.push_back(request);
  peers_.push_back(from);
}

bool MpiTransport::complete() {
  int done = 0;
  check_mpi(MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &done, MPI_STATUSES_IGNORE), "MPI_Testall");
  if (done == 0) return false;
  requests_.clear();
  peers_.clear();
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
  // Sent in the last moments of a group, to ranks that may never receive it: its memory is left to MPI for good.
  const auto* const lasting = new Notice(notice);
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Isend(lasting, sizeof *lasting, MPI_BYTE, to, kNotice, comm_, &request), "MPI_Isend");
  MPI_Request_free(&request);
}

std::optional<Notice> MpiTransport::poll_notice() {
  int arrived = 0;
  check_mpi(MPI_Test(&incoming_request_, &arrived, MPI_STATUS_IGNORE), "MPI_Test");
  if (arrived == 0) return std::nullopt;
  const Notice notice = incoming_;
  expect_notice();
  return notice;
}

void MpiTransport::expect_notice() {
  check_mpi(MPI_Irecv(&incoming_, sizeof incoming_, MPI_BYTE, MPI_ANY_SOURCE, kNotice, comm_, &incoming_request_), "MPI_Irecv");
}

void MpiTransport::abandon() noexcept {
  for (MPI_Request& request : requests_) cancel(request);
  requests_.clear();
  peers_.clear();
}

}  // namespace minim::detail

#include "command/mpi_session.h"

#include <sched.h>

#include <algorithm>
#include <vector>

#include "command/environment.h"
#include "minim/comm/mpi.h"

namespace minim::command {
namespace {

cpu_set_t own_cores() {
  cpu_set_t own;
  CPU_ZERO(&own);
  sched_getaffinity(0, sizeof own, &own);  // where it fails the set stays empty and is shared with nobody
  return own;
}

/// Of the ranks whose cores are `sets`.
int count_core_sharing_ranks(const std::vector<cpu_set_t>& sets) {
  const cpu_set_t own = own_cores();
  const auto shares = [&own](const cpu_set_t& other) {
    cpu_set_t common;
    CPU_AND(&common, &own, &other);
    return CPU_COUNT(&common) > 0;
  };
  return std::max(1, static_cast<int>(std::count_if(sets.begin(), sets.end(), shares)));
}

/// What every rank says, by rank.
template <class T>
std::vector<T> gather(Communicator& communicator, const T& own) {
  std::vector<T> all(static_cast<std::size_t>(communicator.size()));
  all[static_cast<std::size_t>(communicator.rank())] = own;
  const auto size_bytes = static_cast<std::int64_t>(all.size() * sizeof(T));
  communicator.all_gather(TensorView(all.data(), DType::uint8, Shape{size_bytes}), {.label = "set-up", .after = {}}).wait();
  return all;
}

std::optional<TcpOptions> tcp_options() {
  const bool by_mpirun = process_environment("OMPI_COMM_WORLD_SIZE") != nullptr;
  return by_mpirun ? std::nullopt : tcp_options_of_environment();
}

}  // namespace

MpiSession::MpiSession() : tcp_(tcp_options()) {
  if (tcp_) {
    meet_over_tcp();
  } else {
    start_mpi();
  }
}

void MpiSession::start_mpi() {
  MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &thread_level_);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
  MPI_Comm_size(MPI_COMM_WORLD, &size_);
  MPI_Comm node = MPI_COMM_NULL;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
  MPI_Comm_size(node, &local_size_);
  const cpu_set_t own = own_cores();
  std::vector<cpu_set_t> sets(static_cast<std::size_t>(local_size_));
  MPI_Allgather(&own, sizeof own, MPI_BYTE, sets.data(), sizeof own, MPI_BYTE, node);
  core_sharing_ranks_ = count_core_sharing_ranks(sets);
  MPI_Comm_free(&node);
}

void MpiSession::meet_over_tcp() {
  tcp_ranks_ = make_tcp_communicator(*tcp_);
  rank_ = tcp_->rank;
  size_ = tcp_->size;
  const std::vector<cpu_set_t> of_all = gather(*tcp_ranks_, own_cores());
  std::vector<cpu_set_t> of_node;
  for (int r = 0; r < size_; ++r) {
    if (tcp_ranks_->node_of(r) == tcp_ranks_->node_of(rank_)) of_node.push_back(of_all[static_cast<std::size_t>(r)]);
  }
  local_size_ = static_cast<int>(of_node.size());
  core_sharing_ranks_ = count_core_sharing_ranks(of_node);
}

MpiSession::~MpiSession() {
  communicator_.reset();
  if (!tcp_) MPI_Finalize();
}

int MpiSession::first_failed(bool failed) const {
  const int own = failed ? rank_ : size_;
  int lowest = size_;
  if (tcp_) {
    const std::vector<int> all = gather(*tcp_ranks_, own);
    lowest = *std::min_element(all.begin(), all.end());
  } else {
    MPI_Allreduce(&own, &lowest, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
  }
  return lowest == size_ ? -1 : lowest;
}

Communicator& MpiSession::open(double deadline_seconds, int ranks_per_node) {
  const auto deadline = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::duration<double>(deadline_seconds));
  if (tcp_) {
    tcp_->deadline = deadline;
    communicator_ = make_tcp_communicator(*tcp_);
  } else {
    communicator_ = make_mpi_communicator(MPI_COMM_WORLD, {.deadline = deadline, .ranks_per_node = ranks_per_node});
  }
  return *communicator_;
}

std::string MpiSession::library_version() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0;
  MPI_Get_library_version(text, &length);  // needs no MPI_Init
  const std::string version(text, static_cast<std::size_t>(length));
  return version.substr(0, version.find(','));
}

const char* MpiSession::thread_level() const {
  if (tcp_) return "not used, the ranks have met over TCP";
  switch (thread_level_) {
    case MPI_THREAD_SINGLE: return "MPI_THREAD_SINGLE";
    case MPI_THREAD_FUNNELED: return "MPI_THREAD_FUNNELED";
    case MPI_THREAD_SERIALIZED: return "MPI_THREAD_SERIALIZED";
    default: return "MPI_THREAD_MULTIPLE";
  }
}

}  // namespace minim::command

#include "command/mpi_session.h"

#include <sched.h>

#include <algorithm>
#include <vector>

#include "minim/comm/mpi.h"

namespace minim::command {
namespace {

int count_core_sharing_ranks(MPI_Comm node, int local_size) {
  cpu_set_t own;
  CPU_ZERO(&own);
  sched_getaffinity(0, sizeof own, &own);  // where it fails the set stays empty and is shared with nobody
  std::vector<cpu_set_t> sets(static_cast<std::size_t>(local_size));
  MPI_Allgather(&own, sizeof own, MPI_BYTE, sets.data(), sizeof own, MPI_BYTE, node);
  const auto shares = [&own](const cpu_set_t& other) {
    cpu_set_t common;
    CPU_AND(&common, &own, &other);
    return CPU_COUNT(&common) > 0;
  };
  return std::max(1, static_cast<int>(std::count_if(sets.begin(), sets.end(), shares)));
}

}  // namespace

MpiSession::MpiSession() {
  MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &thread_level_);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
  MPI_Comm_size(MPI_COMM_WORLD, &size_);
  MPI_Comm node = MPI_COMM_NULL;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
  MPI_Comm_size(node, &local_size_);
  core_sharing_ranks_ = count_core_sharing_ranks(node, local_size_);
  MPI_Comm_free(&node);
}

MpiSession::~MpiSession() {
  communicator_.reset();
  MPI_Finalize();
}

int MpiSession::first_failed(bool failed) const {
  const int own = failed ? rank_ : size_;
  int lowest = size_;
  MPI_Allreduce(&own, &lowest, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
  return lowest == size_ ? -1 : lowest;
}

Communicator& MpiSession::open(double deadline_seconds, int ranks_per_node) {
  const auto deadline = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::duration<double>(deadline_seconds));
  communicator_ = make_mpi_communicator(MPI_COMM_WORLD, {.deadline = deadline, .ranks_per_node = ranks_per_node});
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
  switch (thread_level_) {
    case MPI_THREAD_SINGLE: return "MPI_THREAD_SINGLE";
    case MPI_THREAD_FUNNELED: return "MPI_THREAD_FUNNELED";
    case MPI_THREAD_SERIALIZED: return "MPI_THREAD_SERIALIZED";
    default: return "MPI_THREAD_MULTIPLE";
  }
}

}  // namespace minim::command

#include <fmt/format.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <new>

#include "group_communicator.h"
#include "minim/comm/mpi.h"
#include "minim/runtime/error.h"
#include "mpi_check.h"
#include "mpi_transport.h"

namespace minim {
namespace detail {
namespace {

constexpr std::int64_t kPageBytes = 4096;
constexpr std::int64_t kNodeBoardBytes = round_up(sizeof(NodeBoard), kPageBytes);

/// Memory of which each rank of a node has a part that all of them can address.
struct SharedWindow {
  MPI_Win window = MPI_WIN_NULL;
  std::vector<std::byte*> parts;  ///< by local rank, on pages
};

std::byte* page_up(void* address) {
  return reinterpret_cast<std::byte*>(round_up(reinterpret_cast<std::intptr_t>(address), kPageBytes));
}

/// Whether the file system that Open MPI keeps shared windows in has room. Asked before, because a window that does not fit kills
/// the process at the first touch, or leaves the other ranks waiting in MPI.
bool has_room_for(std::int64_t size_bytes) {
  struct statvfs status = {};
  if (::statvfs("/dev/shm", &status) != 0) return true;
  constexpr double kUsable = 0.9;
  return static_cast<double>(size_bytes) < kUsable * static_cast<double>(status.f_bavail) * static_cast<double>(status.f_frsize);
}

/// A collective call of the node. No value, on all ranks, when there is no room.
std::optional<SharedWindow> make_window(MPI_Comm node, std::int64_t own_bytes) {
  const std::int64_t padded_bytes = own_bytes + kPageBytes;
  std::int64_t total_bytes = 0;
  check_mpi(MPI_Allreduce(&padded_bytes, &total_bytes, 1, MPI_INT64_T, MPI_SUM, node), "MPI_Allreduce");
  int fits = has_room_for(total_bytes) ? 1 : 0;
  check_mpi(MPI_Bcast(&fits, 1, MPI_INT, 0, node), "MPI_Bcast");
  if (fits == 0) return std::nullopt;

  SharedWindow shared;
  MPI_Info info = MPI_INFO_NULL;
  check_mpi(MPI_Info_create(&info), "MPI_Info_create");
  check_mpi(MPI_Info_set(info, "alloc_shared_noncontig", "true"), "MPI_Info_set");
  void* own = nullptr;
  int made = MPI_Win_allocate_shared(padded_bytes, 1, info, node, &own, &shared.window) == MPI_SUCCESS ? 1 : 0;
  MPI_Info_free(&info);
  check_mpi(MPI_Allreduce(MPI_IN_PLACE, &made, 1, MPI_INT, MPI_MIN, node), "MPI_Allreduce");
  if (made == 0) return std::nullopt;

  int ranks = 0;
  check_mpi(MPI_Comm_size(node, &ranks), "MPI_Comm_size");
  for (int r = 0; r < ranks; ++r) {
    MPI_Aint part_bytes = 0;
    int unit_bytes = 0;
    void* base = nullptr;
    check_mpi(MPI_Win_shared_query(shared.window, r, &part_bytes, &unit_bytes, &base), "MPI_Win_shared_query");
    shared.parts.push_back(page_up(base));
  }
  return shared;
}

/// The communicators that a group owns, and what it found out about its ranks.
struct MpiGroup {
  MPI_Comm all = MPI_COMM_NULL;
  MPI_Comm node = MPI_COMM_NULL;
  Topology topology;
};

MpiGroup make_group(MPI_Comm parent, int ranks_per_node) {
  MpiGroup group;
  check_mpi(MPI_Comm_dup(parent, &group.all), "MPI_Comm_dup");
  MPI_Comm_set_errhandler(group.all, MPI_ERRORS_RETURN);
  int rank = 0;
  int size = 0;
  check_mpi(MPI_Comm_rank(group.all, &rank), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(group.all, &size), "MPI_Comm_size");
  check_mpi(MPI_Comm_split_type(group.all, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &group.node), "MPI_Comm_split_type");
  if (ranks_per_node > 0) {
    int local_rank = 0;
    MPI_Comm pretended = MPI_COMM_NULL;
    check_mpi(MPI_Comm_rank(group.node, &local_rank), "MPI_Comm_rank");
    check_mpi(MPI_Comm_split(group.node, local_rank / ranks_per_node, rank, &pretended), "MPI_Comm_split");
    MPI_Comm_free(&group.node);
    group.node = pretended;
  }
  MPI_Comm_set_errhandler(group.node, MPI_ERRORS_RETURN);
  int first_rank = rank;
  check_mpi(MPI_Bcast(&first_rank, 1, MPI_INT, 0, group.node), "MPI_Bcast");
  std::vector<int> colours(static_cast<std::size_t>(size));
  check_mpi(MPI_Allgather(&first_rank, 1, MPI_INT, colours.data(), 1, MPI_INT, group.all), "MPI_Allgather");
  group.topology = make_topology(rank, colours);
  return group;
}

/// Lays the boards, slots and staging areas of a node into a window.
Segment make_segment(const MpiGroup& group, SharedWindow& shared) {
  Segment segment;
  // A piece of a message holds a grain of the widest elements of every rank's slice.
  segment.staging_bytes = std::max(kStagingBytes, group.topology.size * kGrain * minim::size_bytes(DType::fp64));
  auto window = make_window(group.node, kNodeBoardBytes + SegmentPart::size_bytes(segment.staging_bytes));
  int ready = window ? 1 : 0;
  check_mpi(MPI_Allreduce(MPI_IN_PLACE, &ready, 1, MPI_INT, MPI_MIN, group.all), "MPI_Allreduce");
  if (ready == 0)
    throw DeviceError("the ranks of a node need shared memory for communication: /dev/shm has too little room left");
  shared = std::move(*window);
  void* const board = shared.parts.front();
  segment.node = group.topology.local_rank == 0 ? new (board) NodeBoard : static_cast<NodeBoard*>(board);
  for (int l = 0; l < group.topology.local_size(); ++l) {
    void* const part = shared.parts[static_cast<std::size_t>(l)] + kNodeBoardBytes;
    segment.parts.push_back(SegmentPart::at(part, l == group.topology.local_rank));
  }
  segment.parts[static_cast<std::size_t>(group.topology.local_rank)].board->process = ProcessId::self();
  check_mpi(MPI_Barrier(group.node), "MPI_Barrier");
  return segment;
}

class MpiCommunicator final : public GroupCommunicator {
 public:
  MpiCommunicator(const MpiGroup& group, Segment segment, SharedWindow shared, std::unique_ptr<Transport> transport,
                  std::chrono::milliseconds patience)
      : GroupCommunicator("mpi", group.topology, std::move(segment), std::move(transport), patience),
        all_(group.all),
        node_comm_(group.node),
        segment_window_(std::move(shared)) {}
  ~MpiCommunicator() override;

  Buffer allocate(Backend& backend, std::int64_t size_bytes, MemoryKind kind) override;

 private:
  struct Allocation {
    SharedWindow shared;
    std::int32_t number = 0;
  };
  Buffer allocate_alone(Backend& backend, std::int64_t size_bytes, MemoryKind kind);
  void free_released_windows();
  void say_farewell();

  MPI_Comm all_;
  MPI_Comm node_comm_;
  SharedWindow segment_window_;
  std::vector<Allocation> allocations_;
};

Buffer MpiCommunicator::allocate(Backend& backend, std::int64_t size_bytes, MemoryKind kind) {
  if (!backend.host_accessible()) return allocate_on_device(backend, size_bytes, kind);
  // MPI's own collectives know no deadline: everybody is here before they are called.
  barrier({.label = fmt::format("allocation of {} bytes", size_bytes), .after = {}}).wait();
  free_released_windows();
  if (topology().local_size() == 1) return allocate_alone(backend, size_bytes, kind);
  auto shared = make_window(node_comm_, size_bytes);
  if (!shared) {
    registry()->add({}, topology().local_rank, size_bytes);  // keeps the numbers of later allocations equal on all ranks
    return backend.allocate(size_bytes, kind);
  }
  std::byte* const own = shared->parts[static_cast<std::size_t>(topology().local_rank)];
  const std::int32_t number = registry()->add(shared->parts, topology().local_rank, size_bytes);
  allocations_.push_back({std::move(*shared), number});
  return {own, size_bytes, kind, backend.memory(), [registry = registry(), number](void*) { registry->release(number); }};
}

/// Memory of one rank, which messages between nodes use as it is: so it stays when the group has failed.
Buffer MpiCommunicator::allocate_alone(Backend& backend, std::int64_t size_bytes, MemoryKind kind) {
  auto memory = std::make_shared<Buffer>(backend.allocate(size_bytes, kind));
  auto* const data = static_cast<std::byte*>(memory->data());
  const std::int32_t number = registry()->add({data}, 0, size_bytes);
  return {data, size_bytes, kind, nullptr, [memory = std::move(memory), registry = registry(), number](void*) mutable {
            registry->release(number);
            if (registry->abandoned()) leave_to_mpi(memory);
            memory.reset();
          }};
}

/// Freeing a window takes all ranks, which release their buffers whenever they like: so it happens here, for what all have
/// released.
void MpiCommunicator::free_released_windows() {
  if (allocations_.empty()) return;
  std::vector<int> released;
  for (const Allocation& allocation : allocations_) released.push_back(registry()->released(allocation.number) ? 1 : 0);
  check_mpi(MPI_Allreduce(MPI_IN_PLACE, released.data(), static_cast<int>(released.size()), MPI_INT, MPI_MIN, node_comm_),
            "MPI_Allreduce");
  std::vector<Allocation> kept;
  for (std::size_t i = 0; i < allocations_.size(); ++i) {
    if (released[i] != 0) {
      MPI_Win_free(&allocations_[i].shared.window);
    } else {
      kept.push_back(std::move(allocations_[i]));
    }
  }
  allocations_ = std::move(kept);
}

MpiCommunicator::~MpiCommunicator() {
  int finalized = 0;
  if (MPI_Finalized(&finalized) != MPI_SUCCESS || finalized != 0) return;
  say_farewell();
  close_transport();
  // Without the others the windows stay until the process ends: freeing them would wait for ranks that may never come.
  if (!node().all_left()) return;
  try {
    free_released_windows();
  } catch (const CommError&) {
    return;
  }
  MPI_Win_free(&segment_window_.window);
  MPI_Comm_free(&node_comm_);
  MPI_Comm_free(&all_);
}

void MpiCommunicator::say_farewell() {
  node().leave();
  if (failed() || !idle()) node().give_up_farewell();
  Backoff backoff(false);
  const auto start = Clock::now();
  while (!node().all_left() && !node().farewell_given_up()) {
    if (!backoff.pause()) continue;
    const auto& peers = topology().local_ranks();
    const bool alone = std::any_of(peers.begin(), peers.end(), [&](int r) { return !node().has_left(r) && node().has_ended(r); });
    if (alone || node().failed() || Clock::now() - start > deadline()) node().give_up_farewell();
  }
}

}  // namespace
}  // namespace detail

std::unique_ptr<Communicator> make_mpi_communicator(MPI_Comm parent, MpiOptions options) {
  int initialized = 0;
  int finalized = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  if (initialized == 0 || finalized != 0) throw InvalidArgument("an MPI communicator was asked for while MPI is not up");
  const detail::MpiGroup group = detail::make_group(parent, options.ranks_per_node);
  detail::SharedWindow shared;
  detail::Segment segment = detail::make_segment(group, shared);
  std::unique_ptr<detail::Transport> transport;
  if (group.topology.nodes() > 1) transport = std::make_unique<detail::MpiTransport>(group.all);
  return std::make_unique<detail::MpiCommunicator>(group, std::move(segment), std::move(shared), std::move(transport),
                                                   options.deadline);
}

}  // namespace minim

// The functions of NCCL that minim uses, as a double: see README.md two folders up.
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <map>
#include <mutex>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "double.h"
#include "nccl/communicator.h"
#include "sanitizers.h"

namespace {

using doubles::Hidden;
using nccl_double::Call;
using nccl_double::Collective;
using nccl_double::Exchange;
using nccl_double::Kind;
using nccl_double::Message;

/// Memory of ncclMemAlloc, with the number of windows on it.
struct Memory {
  std::size_t bytes = 0;
  int windows = 0;
};
std::mutex g_mutex;
std::map<const void*, Memory>& memory_of_nccl() {
  static auto& memory = *new std::map<const void*, Memory>;
  return memory;
}

void count_windows(const void* data, int more) {
  const std::scoped_lock lock(g_mutex);
  memory_of_nccl().at(data).windows += more;
}

/// All that have ever been: one that is destroyed stays, empty, so that whoever uses it afterwards is found.
std::vector<std::unique_ptr<ncclComm>>& communicators() {
  static auto& all = *new std::vector<std::unique_ptr<ncclComm>>;
  return all;
}

void destroy(ncclComm& communicator) {
  for (const auto& [window, bytes] : communicator.windows) count_windows(window, -1);
  communicator.windows.clear();
  communicator.destroyed = true;
  communicator.group.reset();
}

std::size_t ranks_of(const ncclComm* communicator) {
  return communicator == nullptr || communicator->destroyed ? 0 : static_cast<std::size_t>(communicator->group->size());
}

/// Work that has been called for, and its stream.
struct Task {
  cudaStream_t stream;
  std::function<void()> work;
};

/// What the calling thread's group holds so far.
struct OpenGroup {
  int depth = 0;
  ncclComm_t communicator = nullptr;
  std::vector<Task> tasks;
  std::shared_ptr<Exchange> exchange;
};
thread_local OpenGroup t_group;

void enqueue(const Task& task) {
  auto* const work = new std::function<void()>(task.work);
  const auto run = [](void* context) {
    const Hidden hidden;
    (*static_cast<std::function<void()>*>(context))();
  };
  const auto drop = [](void* context) { delete static_cast<std::function<void()>*>(context); };
  const doubles::Shown shown;  // what the host has done before is done
  double_enqueue_owned(task.stream, "an NCCL kernel", run, drop, work);
}

/// Adds to the open group, or begins at once.
ncclResult_t call_for(ncclComm_t communicator, Task task) {
  if (t_group.depth > 0) {
    if (t_group.communicator != nullptr && t_group.communicator != communicator) {
      double_refuse("a group of NCCL calls for two communicators is more than this double can do");
    }
    t_group.communicator = communicator;
    t_group.tasks.push_back(std::move(task));
    return ncclSuccess;
  }
  return communicator->carry_out([] { return true; }, [task = std::move(task)] { enqueue(task); });
}

char* reachable(const char* function, const void* data, std::size_t bytes) {
  if (bytes > 0 && double_is_device(data) == 0) {
    double_refuse((std::string(function) + " is given memory that is not a device's").c_str());
  }
  return static_cast<char*>(double_alias(data));
}

/// Reductions come with an operation; others have none.
ncclResult_t call_collective(const char* function, Kind kind, const void* send, std::size_t send_count, void* receive,
                             std::size_t receive_count, ncclDataType_t type, ncclRedOp_t operation, int root,
                             ncclComm_t communicator, cudaStream_t stream) {
  const Hidden hidden;
  if (communicator == nullptr) return ncclInvalidArgument;
  if (const ncclResult_t error = communicator->begin(function); error != ncclSuccess) return error;
  const std::size_t send_bytes = send_count * nccl_double::size_bytes(type);
  const std::size_t receive_bytes = receive_count * nccl_double::size_bytes(type);
  Collective collective;
  collective.call = {.kind = kind,
                     .count = std::min(send_count, receive_count),
                     .type = type,
                     .operation = std::min<int>(operation, ncclNumOps),
                     .root = root,
                     .in_windows = communicator->in_window(send, send_bytes) && communicator->in_window(receive, receive_bytes)};
  if (operation >= ncclNumOps) {
    const auto scale = communicator->scales.find(operation);
    if (scale == communicator->scales.end()) return ncclInvalidArgument;
    collective.scale = scale->second;
  } else if (operation != ncclSum) {
    double_refuse((std::string(function) + ": this double knows sums only").c_str());
  }
  collective.send = reachable(function, send, send_bytes);
  collective.receive = reachable(function, receive, receive_bytes);
  return call_for(communicator, {stream, [group = communicator->group, collective] { run(*group, collective); }});
}

ncclResult_t call_message(const char* function, bool sends, const void* data, std::size_t count, ncclDataType_t type, int peer,
                          ncclComm_t communicator, cudaStream_t stream) {
  const Hidden hidden;
  if (communicator == nullptr || peer < 0 || peer >= communicator->group->size()) return ncclInvalidArgument;
  if (const ncclResult_t error = communicator->begin(function); error != ncclSuccess) return error;
  if (t_group.depth == 0) double_refuse("a message outside a group is more than this double can do");
  if (!t_group.exchange) {
    t_group.exchange = std::make_shared<Exchange>();
    call_for(communicator, {stream, [group = communicator->group, exchange = t_group.exchange] { run(*group, *exchange); }});
  }
  const std::size_t bytes = count * nccl_double::size_bytes(type);
  auto& messages = sends ? t_group.exchange->sends : t_group.exchange->receives;
  messages.push_back({.peer = peer, .data = reachable(function, data, bytes), .bytes = bytes});
  return ncclSuccess;
}

float scale_of(const void* scalar, ncclDataType_t type) {
  switch (type) {
    case ncclFloat32: return *static_cast<const float*>(scalar);
    case ncclFloat16: return __half2float(*static_cast<const __half*>(scalar));
    case ncclBfloat16: return __bfloat162float(*static_cast<const __nv_bfloat16*>(scalar));
    default: double_refuse("NCCL is asked to scale elements of a type that this double does not know");
  }
}

}  // namespace

extern "C" {

ncclResult_t ncclGetVersion(int* version) {
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}

const char* ncclGetErrorString(ncclResult_t result) {
  switch (result) {
    case ncclSuccess: return "no error";
    case ncclUnhandledCudaError: return "unhandled cuda error";
    case ncclSystemError: return "unhandled system error";
    case ncclInternalError: return "internal error";
    case ncclInvalidArgument: return "invalid argument";
    case ncclInvalidUsage: return "invalid usage";
    case ncclRemoteError: return "remote process exited or there was a network error";
    case ncclInProgress: return "NCCL operation in progress";
    default: return "unknown result code";
  }
}

const char* ncclGetLastError(ncclComm_t /*communicator*/) { return ""; }

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  static std::atomic<int> count{0};
  *id = {};
  std::snprintf(id->internal, sizeof id->internal, "/minim-nccl-double.%d.%d", getpid(), count++);
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* communicator, int ranks, ncclUniqueId id, int rank, ncclConfig_t* config) {
  const Hidden hidden;
  constexpr unsigned kMagic = 0xcafebeef;  // of NCCL_CONFIG_INITIALIZER
  if (config != nullptr && config->magic != kMagic) return ncclInvalidArgument;
  if (ranks < 1 || rank < 0 || rank >= ranks) return ncclInvalidArgument;
  if (ranks > nccl_double::kMostRanks) double_refuse("the double of NCCL is for 16 ranks at most");
  const bool blocking = config == nullptr || config->blocking != 0;
  auto made = std::make_unique<ncclComm>(id.internal, rank, ranks, blocking);
  *communicator = made.get();
  {
    const std::scoped_lock lock(g_mutex);
    communicators().push_back(std::move(made));
  }
  return (*communicator)->look();
}

ncclResult_t ncclCommFinalize(ncclComm_t communicator) {
  const Hidden hidden;
  if (communicator == nullptr) return ncclInvalidArgument;
  if (const ncclResult_t error = communicator->begin("ncclCommFinalize"); error != ncclSuccess) return error;
  return communicator->carry_out([] { return true; }, [] {});
}

ncclResult_t ncclCommDestroy(ncclComm_t communicator) {
  const Hidden hidden;
  if (communicator == nullptr) return ncclInvalidArgument;
  if (const ncclResult_t error = communicator->begin("ncclCommDestroy"); error != ncclSuccess) return error;
  destroy(*communicator);
  return ncclSuccess;
}

/// Ends this rank's part, and tells nobody.
ncclResult_t ncclCommAbort(ncclComm_t communicator) {
  const Hidden hidden;
  if (communicator == nullptr) return ncclInvalidArgument;
  if (communicator->destroyed) double_refuse("ncclCommAbort is called with a communicator that is destroyed or aborted");
  communicator->group->abort();
  destroy(*communicator);
  return ncclSuccess;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t communicator, ncclResult_t* state) {
  const Hidden hidden;
  if (communicator == nullptr || state == nullptr) return ncclInvalidArgument;
  if (communicator->destroyed) double_refuse("ncclCommGetAsyncError is called with a communicator that is destroyed or aborted");
  *state = communicator->look();
  return ncclSuccess;
}

ncclResult_t ncclMemAlloc(void** pointer, size_t bytes) {
  const Hidden hidden;
  constexpr std::size_t kGrain = 2 << 20;  // as the driver's
  const std::size_t reserved = (bytes + kGrain - 1) / kGrain * kGrain;
  if (cudaMalloc(pointer, reserved) != cudaSuccess) return ncclUnhandledCudaError;
  const std::scoped_lock lock(g_mutex);
  memory_of_nccl()[*pointer] = {.bytes = reserved};
  return ncclSuccess;
}

ncclResult_t ncclMemFree(void* pointer) {
  const Hidden hidden;
  {
    const std::scoped_lock lock(g_mutex);
    const auto found = memory_of_nccl().find(pointer);
    if (found == memory_of_nccl().end()) double_refuse("ncclMemFree is given memory that is not of ncclMemAlloc");
    if (found->second.windows > 0) double_refuse("ncclMemFree is given memory with a window on it");
    memory_of_nccl().erase(found);
  }
  return cudaFree(pointer) == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
}

ncclResult_t ncclCommWindowRegister(ncclComm_t communicator, void* data, size_t bytes, ncclWindow_t* window, int /*flags*/) {
  const Hidden hidden;
  if (communicator == nullptr || data == nullptr || bytes == 0 || window == nullptr) return ncclInvalidArgument;
  if (const ncclResult_t error = communicator->begin("ncclCommWindowRegister"); error != ncclSuccess) return error;
  {
    const std::scoped_lock lock(g_mutex);
    const auto found = memory_of_nccl().find(data);
    if (found == memory_of_nccl().end() || bytes > found->second.bytes) {
      double_refuse("a window is registered on memory that is not of ncclMemAlloc");
    }
  }
  auto& group = *communicator->group;
  group.arrive({.kind = Kind::window, .count = bytes});
  return communicator->carry_out([&group] { return group.all_arrived(); },
                                 [&group, communicator, data, bytes, window] {
                                   nccl_double::compare_host_calls(group);
                                   communicator->windows[static_cast<const char*>(data)] = bytes;
                                   count_windows(data, 1);
                                   *window = static_cast<ncclWindow_t>(data);
                                 });
}

ncclResult_t ncclCommWindowDeregister(ncclComm_t communicator, ncclWindow_t window) {
  const Hidden hidden;
  if (communicator == nullptr) return ncclInvalidArgument;
  if (const ncclResult_t error = communicator->begin("ncclCommWindowDeregister"); error != ncclSuccess) return error;
  const void* const data = window;
  if (communicator->windows.erase(static_cast<const char*>(data)) == 0) return ncclInvalidArgument;
  count_windows(data, -1);
  return ncclSuccess;
}

ncclResult_t ncclRedOpCreatePreMulSum(ncclRedOp_t* operation, void* scalar, ncclDataType_t type, ncclScalarResidence_t residence,
                                      ncclComm_t communicator) {
  const Hidden hidden;
  if (communicator == nullptr || residence != ncclScalarHostImmediate) return ncclInvalidArgument;
  if (const ncclResult_t error = communicator->begin("ncclRedOpCreatePreMulSum"); error != ncclSuccess) return error;
  *operation = static_cast<ncclRedOp_t>(communicator->next_operation++);
  communicator->scales[*operation] = scale_of(scalar, type);
  return ncclSuccess;
}

ncclResult_t ncclRedOpDestroy(ncclRedOp_t operation, ncclComm_t communicator) {
  const Hidden hidden;
  if (communicator == nullptr) return ncclInvalidArgument;
  if (const ncclResult_t error = communicator->begin("ncclRedOpDestroy"); error != ncclSuccess) return error;
  return communicator->scales.erase(operation) == 1 ? ncclSuccess : ncclInvalidArgument;
}

ncclResult_t ncclAllReduce(const void* send, void* receive, size_t count, ncclDataType_t type, ncclRedOp_t operation,
                           ncclComm_t communicator, cudaStream_t stream) {
  return call_collective("ncclAllReduce", Kind::all_reduce, send, count, receive, count, type, operation, 0, communicator,
                         stream);
}

ncclResult_t ncclReduceScatter(const void* send, void* receive, size_t receive_count, ncclDataType_t type, ncclRedOp_t operation,
                               ncclComm_t communicator, cudaStream_t stream) {
  return call_collective("ncclReduceScatter", Kind::reduce_scatter, send, receive_count * ranks_of(communicator), receive,
                         receive_count, type, operation, 0, communicator, stream);
}

ncclResult_t ncclAllGather(const void* send, void* receive, size_t send_count, ncclDataType_t type, ncclComm_t communicator,
                           cudaStream_t stream) {
  return call_collective("ncclAllGather", Kind::all_gather, send, send_count, receive, send_count * ranks_of(communicator), type,
                         ncclSum, 0, communicator, stream);
}

ncclResult_t ncclBroadcast(const void* send, void* receive, size_t count, ncclDataType_t type, int root, ncclComm_t communicator,
                           cudaStream_t stream) {
  return call_collective("ncclBroadcast", Kind::broadcast, send, count, receive, count, type, ncclSum, root, communicator,
                         stream);
}

ncclResult_t ncclSend(const void* send, size_t count, ncclDataType_t type, int peer, ncclComm_t communicator,
                      cudaStream_t stream) {
  return call_message("ncclSend", true, send, count, type, peer, communicator, stream);
}

ncclResult_t ncclRecv(void* receive, size_t count, ncclDataType_t type, int peer, ncclComm_t communicator, cudaStream_t stream) {
  return call_message("ncclRecv", false, receive, count, type, peer, communicator, stream);
}

ncclResult_t ncclGroupStart() {
  ++t_group.depth;
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
  const Hidden hidden;
  if (t_group.depth == 0) return ncclInvalidUsage;
  if (--t_group.depth > 0) return ncclSuccess;
  const OpenGroup group = std::exchange(t_group, {});
  if (group.tasks.empty()) return ncclSuccess;
  return group.communicator->carry_out([] { return true; },
                                       [tasks = group.tasks] {
                                         for (const Task& task : tasks) enqueue(task);
                                       });
}

}  // extern "C"

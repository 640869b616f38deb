#include "nccl/collective.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <string>

#include "double.h"
#include "sanitizers.h"

namespace nccl_double {
namespace {

float to_float(float value) { return value; }
float to_float(__half value) { return __half2float(value); }
float to_float(__nv_bfloat16 value) { return __bfloat162float(value); }

template <class T>
T round_to(float value) {
  if constexpr (std::is_same_v<T, __half>) return __float2half_rn(value);
  if constexpr (std::is_same_v<T, __nv_bfloat16>) return __float2bfloat16_rn(value);
  if constexpr (std::is_same_v<T, float>) return value;
}

/// The sum of all ranks' chunks as a ring makes it: from rank `first` on, rounded to the wire type at every hop. In windows the
/// ranks' values are added in FP32 and rounded once.
template <class T>
void reduce(SharedGroup& group, const Collective& collective, int first, std::size_t count, char* to) {
  const bool scales = collective.call.operation == ncclNumOps;
  const bool rounds_once = collective.call.in_windows != 0 && !scales;
  const auto value = [&](int rank, std::size_t i) {
    const T element = reinterpret_cast<const T*>(group.member(rank).chunk)[i];
    return scales ? to_float(round_to<T>(to_float(element) * group.member(rank).scale)) : to_float(element);
  };
  for (std::size_t i = 0; i < count; ++i) {
    float sum = value(rounds_once ? 0 : first, i);
    for (int hop = 1; hop < group.size(); ++hop) {
      sum += value(rounds_once ? hop : (first + hop) % group.size(), i);
      if (!rounds_once) sum = to_float(round_to<T>(sum));
    }
    reinterpret_cast<T*>(to)[i] = round_to<T>(sum);
  }
}

void reduce(SharedGroup& group, const Collective& collective, int first, std::size_t count, char* to) {
  doubles::show_write(to, count * size_bytes(static_cast<ncclDataType_t>(collective.call.type)));
  switch (collective.call.type) {
    case ncclFloat32: return reduce<float>(group, collective, first, count, to);
    case ncclFloat16: return reduce<__half>(group, collective, first, count, to);
    case ncclBfloat16: return reduce<__nv_bfloat16>(group, collective, first, count, to);
    default: double_refuse("NCCL is asked to add elements of a type that this double does not know");
  }
}

/// Kills the process in the middle of the all-reduce, counted from 1, that the environment names.
void die_where_asked() {
  static const char* const asked = std::getenv("MINIM_DOUBLE_KILL");
  static std::atomic<int> calls = 0;
  if (asked != nullptr && ++calls == std::atoi(asked)) std::raise(SIGKILL);
}

std::string describe(const Call& call) {
  return std::string(name(call.kind)) + " of " + std::to_string(call.count) + " elements of type " + std::to_string(call.type) +
         " with operation " + std::to_string(call.operation) + ", root " + std::to_string(call.root) +
         (call.in_windows != 0 ? ", in windows" : ", not in windows");
}

void compare(int rank, const Call& call, int other_rank, const Call& other) {
  if (call == other) return;
  double_refuse(("ranks differ in what they call of NCCL: rank " + std::to_string(rank) + " " + describe(call) + "; rank " +
                 std::to_string(other_rank) + " " + describe(other))
                    .c_str());
}

/// Cuts `bytes` into chunks: all ranks show theirs (null: nothing to show), then `take(offset, bytes)`. False when the group
/// fails.
template <class Take>
bool for_chunks(SharedGroup& group, const char* shown, std::size_t bytes, Take take) {
  for (std::size_t offset = 0; offset < bytes; offset += kChunkBytes) {
    const std::size_t chunk_bytes = std::min(kChunkBytes, bytes - offset);
    if (shown != nullptr) {
      doubles::show_read(shown + offset, chunk_bytes);
      std::memcpy(group.own().chunk, shown + offset, chunk_bytes);
    }
    if (!group.meet()) return false;
    take(offset, chunk_bytes);
    if (!group.meet()) return false;
  }
  return true;
}

void put(char* to, const char* from, std::size_t bytes) {
  doubles::show_write(to, bytes);
  std::memcpy(to, from, bytes);
}

/// Moves a piece of the message where there is room for it. True when all of it is through.
bool push(Pair& pair, Message& message) {
  if (pair.full.load(std::memory_order_acquire) != 0) return false;
  const std::size_t bytes = std::min(kPairBytes, message.bytes - message.done_bytes);
  pair.message_bytes = message.bytes;
  pair.piece_bytes = bytes;
  doubles::show_read(message.data + message.done_bytes, bytes);
  std::memcpy(pair.piece, message.data + message.done_bytes, bytes);
  pair.full.store(1, std::memory_order_release);
  message.done_bytes += bytes;
  return message.done_bytes == message.bytes;
}

bool pull(Pair& pair, Message& message, int rank) {
  if (pair.full.load(std::memory_order_acquire) == 0) return false;
  if (pair.message_bytes != message.bytes) {
    double_refuse(("rank " + std::to_string(rank) + " receives " + std::to_string(message.bytes) + " bytes from rank " +
                   std::to_string(message.peer) + ", which sends " + std::to_string(pair.message_bytes))
                      .c_str());
  }
  put(message.data + message.done_bytes, pair.piece, pair.piece_bytes);
  message.done_bytes += pair.piece_bytes;
  pair.full.store(0, std::memory_order_release);
  return message.done_bytes == message.bytes;
}

/// Moves the first message of every peer: those behind it wait for it.
template <class Move>
bool advance(std::vector<Message>& messages, Move move) {
  std::vector<bool> busy(kMostRanks);
  bool moved = false;
  std::erase_if(messages, [&](Message& message) {
    const auto peer = static_cast<std::size_t>(message.peer);
    if (busy[peer]) return false;
    const std::size_t before = message.done_bytes;
    const bool through = move(message);
    busy[peer] = !through;
    moved = moved || message.done_bytes != before;
    return through;
  });
  return moved;
}

}  // namespace

std::size_t size_bytes(ncclDataType_t type) {
  switch (type) {
    case ncclInt8:
    case ncclUint8: return 1;
    case ncclFloat16:
    case ncclBfloat16: return 2;
    case ncclInt32:
    case ncclUint32:
    case ncclFloat32: return 4;
    case ncclInt64:
    case ncclUint64:
    case ncclFloat64: return 8;
    default: double_refuse("NCCL is given elements of a type that this double does not know");
  }
}

const char* name(Kind kind) {
  switch (kind) {
    case Kind::initialisation: return "ncclCommInitRank";
    case Kind::all_reduce: return "ncclAllReduce";
    case Kind::reduce_scatter: return "ncclReduceScatter";
    case Kind::all_gather: return "ncclAllGather";
    case Kind::broadcast: return "ncclBroadcast";
    case Kind::window: return "ncclCommWindowRegister";
  }
  return "?";
}

void compare_host_calls(SharedGroup& group) {
  for (int r = 0; r < group.size(); ++r) compare(group.rank(), group.host_call(group.rank()), r, group.host_call(r));
}

void run(SharedGroup& group, const Collective& collective) {
  if (group.aborted() || group.lost_peer()) return;  // others may still be comparing the call before
  group.own().call = collective.call;
  group.own().scale = collective.scale;
  if (!group.meet()) return;
  for (int r = 0; r < group.size(); ++r) compare(group.rank(), collective.call, r, group.member(r).call);
  if (!group.meet()) return;
  const std::size_t element_bytes = size_bytes(static_cast<ncclDataType_t>(collective.call.type));
  const std::size_t bytes = collective.call.count * element_bytes;
  const int size = group.size();
  switch (collective.call.kind) {
    case Kind::all_reduce:
      die_where_asked();
      for_chunks(group, collective.send, bytes, [&](std::size_t offset, std::size_t chunk_bytes) {
        const int first = static_cast<int>(offset / kChunkBytes + 1) % size;
        reduce(group, collective, first, chunk_bytes / element_bytes, collective.receive + offset);
      });
      break;
    case Kind::reduce_scatter:
      for (int target = 0; target < size; ++target) {
        const auto take = [&](std::size_t offset, std::size_t chunk_bytes) {
          if (target != group.rank()) return;
          reduce(group, collective, (target + 1) % size, chunk_bytes / element_bytes, collective.receive + offset);
        };
        if (!for_chunks(group, collective.send + static_cast<std::size_t>(target) * bytes, bytes, take)) return;
      }
      break;
    case Kind::all_gather:
      for_chunks(group, collective.send, bytes, [&](std::size_t offset, std::size_t chunk_bytes) {
        for (int r = 0; r < size; ++r) {
          char* const part = collective.receive + static_cast<std::size_t>(r) * bytes;
          if (part != collective.send) put(part + offset, group.member(r).chunk, chunk_bytes);
        }
      });
      break;
    case Kind::broadcast:
      for_chunks(group, group.rank() == collective.call.root ? collective.send : nullptr, bytes,
                 [&](std::size_t offset, std::size_t chunk_bytes) {
                   if (collective.receive == collective.send && group.rank() == collective.call.root) return;
                   put(collective.receive + offset, group.member(collective.call.root).chunk, chunk_bytes);
                 });
      break;
    case Kind::initialisation:
    case Kind::window: break;  // nothing for the device to do
  }
}

void run(SharedGroup& group, Exchange& exchange) {
  const int rank = group.rank();
  while (!exchange.sends.empty() || !exchange.receives.empty()) {
    const bool through = group.wait_until([&] {
      const bool sent = advance(exchange.sends, [&](Message& message) { return push(group.pair(rank, message.peer), message); });
      const bool received =
          advance(exchange.receives, [&](Message& message) { return pull(group.pair(message.peer, rank), message, rank); });
      return sent || received || (exchange.sends.empty() && exchange.receives.empty());
    });
    if (!through) return;
  }
}

}  // namespace nccl_double

#include "plan/memory_map.h"

#include <algorithm>

#include "minim/runtime/memory.h"
#include "plan/arena.h"

namespace minim {

namespace {

using Kind = Storage::Kind;

/// Arena storages, joined into pieces where a kernel writes one over the other.
struct Pieces {
  std::vector<int> of_storage;  ///< index in `lifetimes`; -1: not in the arena
  std::vector<Lifetime> lifetimes;
};

Pieces find_lifetimes(const Recording& recording) {
  Pieces pieces;
  pieces.of_storage.assign(recording.storages.size(), -1);
  for (int k = 0; k < static_cast<int>(recording.kernels.size()); ++k) {
    const KernelRecord& kernel = recording.kernels[static_cast<std::size_t>(k)];
    if (!kernel.live) continue;
    for (const auto* touched : {&kernel.reads, &kernel.writes}) {
      for (const int s : *touched) {
        const Storage& storage = recording.storages[static_cast<std::size_t>(s)];
        if (storage.kind != Kind::arena) continue;
        int& piece = pieces.of_storage[static_cast<std::size_t>(s)];
        if (piece < 0) {
          piece = static_cast<int>(pieces.lifetimes.size());
          pieces.lifetimes.push_back({storage.size_bytes, k, k});
        }
        pieces.lifetimes[static_cast<std::size_t>(piece)].last = k;
      }
    }
  }
  return pieces;
}

/// Writes `pair.output` over `pair.input` where kernel k is the last to need the one and the first to touch the other.
void join(Pieces& pieces, const InPlace& pair, int k) {
  const int output = pieces.of_storage[static_cast<std::size_t>(pair.output)];
  const int input = pieces.of_storage[static_cast<std::size_t>(pair.input)];
  if (output < 0 || input < 0 || output == input) return;
  Lifetime& over = pieces.lifetimes[static_cast<std::size_t>(output)];
  Lifetime& under = pieces.lifetimes[static_cast<std::size_t>(input)];
  if (over.first != k || under.last != k || over.size_bytes != under.size_bytes) return;
  under.last = over.last;
  over.size_bytes = 0;
  over.last = over.first;
  std::ranges::replace(pieces.of_storage, output, input);
}

}  // namespace

MemoryMap map_memory(const Recording& recording, bool reuse) {
  Pieces pieces = find_lifetimes(recording);
  for (int k = 0; reuse && k < static_cast<int>(recording.kernels.size()); ++k) {
    const KernelRecord& kernel = recording.kernels[static_cast<std::size_t>(k)];
    if (!kernel.live) continue;
    for (const InPlace& pair : kernel.in_place) join(pieces, pair, k);
  }
  if (!reuse) {
    for (Lifetime& lifetime : pieces.lifetimes) lifetime = {lifetime.size_bytes, 0, 0};
  }
  const ArenaLayout layout = place(pieces.lifetimes);

  MemoryMap map;
  map.memory.activations_bytes = layout.size_bytes;
  for (std::size_t s = 0; s < recording.storages.size(); ++s) {
    const Storage& storage = recording.storages[s];
    std::int64_t offset = -1;
    if (storage.kind == Kind::pinned) {
      offset = map.memory.input_bytes;
      map.memory.input_bytes += round_up(storage.size_bytes, kAlignmentBytes);
    } else if (const int piece = pieces.of_storage[s]; piece >= 0) {
      offset = layout.offsets_bytes[static_cast<std::size_t>(piece)];
    }
    map.offsets_bytes.push_back(offset);
  }
  std::int64_t known_bytes = 0;
  for (const KernelRecord& kernel : recording.kernels) {
    if (!kernel.live) continue;
    const WorkspaceSize& workspace = kernel.workspace;
    map.memory.workspace_bytes = std::max(map.memory.workspace_bytes, workspace.size_bytes);
    if (workspace.is_known) known_bytes = std::max(known_bytes, workspace.size_bytes);
  }
  map.memory.unknown_workspace_bytes = map.memory.workspace_bytes - known_bytes;
  return map;
}

}  // namespace minim

#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "minim/comm/communicator.h"

namespace minim::test {

/// Memory of the process, so that these tests need no kernels.
class HostBackend : public Backend {
 public:
  std::string_view name() const override { return "host"; }
  Buffer allocate(std::int64_t size_bytes, MemoryKind kind) override {
    constexpr std::align_val_t kAlignment{kAlignmentBytes};
    void* const data = ::operator new(static_cast<std::size_t>(size_bytes), kAlignment);
    return {data, size_bytes, kind, memory(), [kAlignment](void* p) { ::operator delete(p, kAlignment); }};
  }
  std::unique_ptr<Stream> make_stream(std::string stream_name) override { return make_cpu_stream(std::move(stream_name), 1); }
  void copy(TensorView to, ConstTensorView from) override {
    std::memcpy(to.raw(), from.raw(), static_cast<std::size_t>(from.size_bytes()));
  }
};

/// What plays one rank in a test: the group under test, and a second group of the same ranks to meet on while the first is stuck.
struct Rank {
  std::shared_ptr<Backend> backend = std::make_shared<HostBackend>();  ///< whose memory the group's collectives are tried on
  std::unique_ptr<Communicator> group;
  std::unique_ptr<Communicator> side;

  Communicator& operator*() const { return *group; }
  Communicator* operator->() const { return group.get(); }
  /// Returns when all ranks have come here.
  void meet() const { side->barrier({.label = "meeting", .after = {}}).wait(); }
};

/// A kind of communicator to run the conformance suite on.
struct GroupKind {
  std::string name;
  int size = 1;
  int ranks_per_node = 0;  ///< 0: one node
  /// Makes the groups with that deadline and runs `body` as every rank that this process has.
  std::function<void(std::chrono::milliseconds deadline, const std::function<void(Rank&)>& body)> run;
  bool has_only_messages = false;  ///< ranks of a node share no memory either
  bool on_device = false;          ///< memory of the ranks' backends is not the host's
  bool adds_in_any_order = false;  ///< and rounds after every addition, see `is_sum`

  friend std::ostream& operator<<(std::ostream& out, const GroupKind& kind) { return out << kind.name; }
};

inline constexpr std::chrono::milliseconds kPatient{60000};

/// Where a test keeps its tensors: in memory from `allocate`, in ordinary memory of the host, or differently on each rank.
enum class Place { allocated, ordinary, mixed };

class Conformance : public ::testing::TestWithParam<GroupKind> {
 protected:
  void on_all_ranks(const std::function<void(Rank&)>& body, std::chrono::milliseconds deadline = kPatient) {
    GetParam().run(deadline, body);
  }
  int size() const { return GetParam().size; }
  /// Where this kind of group takes tensors from.
  std::vector<Place> places() const {
    if (GetParam().on_device) return {Place::allocated, Place::ordinary};
    return {Place::allocated, Place::ordinary, Place::mixed};
  }
  int node_of(int rank) const { return GetParam().ranks_per_node == 0 ? 0 : rank / GetParam().ranks_per_node; }
};

class ConformanceUnderFailure : public Conformance {};

}  // namespace minim::test

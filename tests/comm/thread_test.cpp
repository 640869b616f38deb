// Runs the conformance suite on groups of threads, also with all memory staged, and on a group of one.

#include "forwarding_communicator.h"
#include "rank_threads.h"

namespace minim::test {
namespace {

using Groups = std::vector<std::unique_ptr<Communicator>>;

void play(Groups groups, Groups sides, const std::function<void(Rank&)>& body) {
  const auto make = [&](int rank) {
    const auto r = static_cast<std::size_t>(rank);
    return Rank{.group = std::move(groups[r]), .side = std::move(sides[r])};
  };
  play_on_threads(static_cast<int>(groups.size()), make, body);
}

GroupKind threads(int size, int ranks_per_node) {
  const std::string nodes = ranks_per_node == 0 ? "OneNode" : "NodesOf" + std::to_string(ranks_per_node);
  return {"Thread" + std::to_string(size) + nodes, size, ranks_per_node,
          [size, ranks_per_node](std::chrono::milliseconds deadline, const std::function<void(Rank&)>& body) {
            play(make_thread_communicators(size, {deadline, ranks_per_node}), make_thread_communicators(size), body);
          }};
}

/// All memory is a device's.
class DeviceBackend final : public HostBackend {
 public:
  bool host_accessible() const override { return false; }
  bool on_device(const void* /*address*/) const override { return true; }
};

struct StagedParts {
  explicit StagedParts(std::unique_ptr<Communicator> host_) : host(std::move(host_)) {}
  std::unique_ptr<Communicator> host;
  DeviceBackend device;
  std::unique_ptr<Communicator> staged = make_staged_communicator(*host, device);
};

/// A staged communicator that owns what it stands on.
class Staged final : private StagedParts, public minim::testing::ForwardingCommunicator {
 public:
  explicit Staged(std::unique_ptr<Communicator> host_) : StagedParts(std::move(host_)), ForwardingCommunicator(*staged) {}
};

GroupKind staged(int size, int ranks_per_node) {
  const std::string nodes = ranks_per_node == 0 ? "OneNode" : "NodesOf" + std::to_string(ranks_per_node);
  return {"Staged" + std::to_string(size) + nodes, size, ranks_per_node,
          [size, ranks_per_node](std::chrono::milliseconds deadline, const std::function<void(Rank&)>& body) {
            Groups groups;
            for (auto& host : make_thread_communicators(size, {deadline, ranks_per_node})) {
              groups.push_back(std::make_unique<Staged>(std::move(host)));
            }
            play(std::move(groups), make_thread_communicators(size), body);
          }};
}

GroupKind self() {
  return {"Self", 1, 0, [](std::chrono::milliseconds, const std::function<void(Rank&)>& body) {
            Groups groups;
            Groups sides;
            groups.push_back(make_self_communicator());
            sides.push_back(make_self_communicator());
            play(std::move(groups), std::move(sides), body);
          }};
}

const auto kKinds =
    ::testing::Values(self(), threads(1, 0), threads(2, 0), threads(3, 0), threads(5, 0), threads(8, 0), threads(2, 1),
                    threads(3, 2), threads(4, 1), threads(5, 2), threads(8, 2), staged(1, 0), staged(3, 0), staged(5, 2));
const auto kName = [](const ::testing::TestParamInfo<GroupKind>& kind) { return kind.param.name; };

INSTANTIATE_TEST_SUITE_P(Groups, Conformance, kKinds, kName);
// Each waits for deadlines: fewer kinds, of every sort.
INSTANTIATE_TEST_SUITE_P(Groups, ConformanceUnderFailure,
                         ::testing::Values(self(), threads(2, 0), threads(5, 0), threads(4, 1), threads(5, 2), staged(3, 0)),
                         kName);

}  // namespace
}  // namespace minim::test

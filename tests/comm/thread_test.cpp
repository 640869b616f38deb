// Runs the conformance suite on groups of threads, and on a group of one.

#include <exception>
#include <thread>

#include "group.h"

namespace minim::test {
namespace {

using Groups = std::vector<std::unique_ptr<Communicator>>;

void play(Groups groups, Groups sides, const std::function<void(Rank&)>& body) {
  std::vector<std::thread> threads;
  for (std::size_t r = 0; r < groups.size(); ++r) {
    threads.emplace_back([&body, rank = std::make_shared<Rank>(Rank{std::move(groups[r]), std::move(sides[r])})]() mutable {
      try {
        body(*rank);
      } catch (const std::exception& error) {
        ADD_FAILURE() << "rank " << (*rank)->rank() << " threw: " << error.what();
        rank->group->abort(error.what());
        rank->side->abort(error.what());
      }
      rank.reset();
    });
  }
  for (std::thread& thread : threads) thread.join();
}

GroupKind threads(int size, int ranks_per_node) {
  const std::string nodes = ranks_per_node == 0 ? "OneNode" : "NodesOf" + std::to_string(ranks_per_node);
  return {"Thread" + std::to_string(size) + nodes, size, ranks_per_node,
          [size, ranks_per_node](std::chrono::milliseconds deadline, const std::function<void(Rank&)>& body) {
            play(make_thread_communicators(size, {deadline, ranks_per_node}), make_thread_communicators(size), body);
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

const auto kKinds = testing::Values(self(), threads(1, 0), threads(2, 0), threads(3, 0), threads(5, 0), threads(8, 0),
                                    threads(2, 1), threads(3, 2), threads(4, 1), threads(5, 2), threads(8, 2));
const auto kName = [](const testing::TestParamInfo<GroupKind>& kind) { return kind.param.name; };

INSTANTIATE_TEST_SUITE_P(Groups, Conformance, kKinds, kName);
// Each waits for deadlines: fewer kinds, of every sort.
INSTANTIATE_TEST_SUITE_P(Groups, ConformanceUnderFailure,
                         testing::Values(self(), threads(2, 0), threads(5, 0), threads(4, 1), threads(5, 2)), kName);

}  // namespace
}  // namespace minim::test

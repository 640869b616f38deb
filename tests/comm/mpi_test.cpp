// Runs the conformance suite on MPI groups: flat, and with pretend nodes. Every rank runs every test; run by mpirun.

#include <mpi.h>

#include <cstdlib>
#include <exception>
#include <iostream>

#include "group.h"
#include "minim/comm/mpi.h"
#include "minim/runtime/error.h"

namespace minim::test {
namespace {

int world_rank() {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  return rank;
}

int world_size() {
  int size = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  return size;
}

GroupKind ranks(int ranks_per_node) {
  const std::string name = ranks_per_node == 0 ? "OneNode" : "NodesOf" + std::to_string(ranks_per_node);
  return {name, world_size(), ranks_per_node,
          [ranks_per_node](std::chrono::milliseconds deadline, const std::function<void(Rank&)>& body) {
            Rank rank{.group = make_mpi_communicator(MPI_COMM_WORLD, {deadline, ranks_per_node}),
                      .side = make_mpi_communicator(MPI_COMM_WORLD)};
            try {
              body(rank);
            } catch (const std::exception& error) {
              ADD_FAILURE() << "threw: " << error.what();
              rank.group->abort(error.what());
              rank.side->abort(error.what());
            }
          }};
}

/// Called when parameters are generated, which is after MPI_Init.
std::vector<GroupKind> kinds() { return {ranks(0), ranks(1), ranks(2)}; }

const auto kName = [](const testing::TestParamInfo<GroupKind>& kind) { return kind.param.name; };
INSTANTIATE_TEST_SUITE_P(Mpi, Conformance, testing::ValuesIn(kinds()), kName);
INSTANTIATE_TEST_SUITE_P(Mpi, ConformanceUnderFailure, testing::ValuesIn(kinds()), kName);

/// Failures of the ranks whose usual output is switched off.
class FailurePrinter final : public testing::EmptyTestEventListener {
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    const char* const file = result.file_name() == nullptr ? "?" : result.file_name();
    std::cerr << "rank " << world_rank() << ": " << file << ":" << result.line_number() << ": " << result.message() << std::endl;
  }
};

}  // namespace
}  // namespace minim::test

int main(int argc, char** argv) {
  // Large messages between ranks of a machine then take several turns of both, as they do between machines.
  setenv("OMPI_MCA_btl_vader_single_copy_mechanism", "none", 0);
  MPI_Init(&argc, &argv);
  testing::InitGoogleTest(&argc, argv);
  if (minim::test::world_rank() != 0) {
    auto& listeners = testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new minim::test::FailurePrinter);
  }
  int failed = RUN_ALL_TESTS();
  MPI_Allreduce(MPI_IN_PLACE, &failed, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
  MPI_Finalize();
  return failed;
}

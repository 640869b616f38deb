// Runs the conformance suite on groups that meet over TCP; their ranks are threads.

#include "minim/comm/tcp.h"
#include "rank_threads.h"
#include "scratch_directory.h"

namespace minim::test {
namespace {

GroupKind over_tcp(int size) {
  return {.name = "Tcp" + std::to_string(size),
          .size = size,
          .run =
              [size](std::chrono::milliseconds deadline, const std::function<void(Rank&)>& body) {
                const testing::ScratchDirectory folder;
                const auto make = [&](int rank) {
                  const auto join = [&](const char* name, std::chrono::milliseconds patience) {
                    return make_tcp_communicator(
                        {.rank = rank, .size = size, .rendezvous = (folder.path() / name).string(), .deadline = patience});
                  };
                  return Rank{.group = join("group", deadline), .side = join("side", kPatient)};
                };
                play_on_threads(size, make, body);
              },
          .has_only_messages = true};
}

const auto kName = [](const ::testing::TestParamInfo<GroupKind>& kind) { return kind.param.name; };

INSTANTIATE_TEST_SUITE_P(Tcp, Conformance, ::testing::Values(over_tcp(1), over_tcp(2), over_tcp(3), over_tcp(5)), kName);
INSTANTIATE_TEST_SUITE_P(Tcp, ConformanceUnderFailure, ::testing::Values(over_tcp(2), over_tcp(5)), kName);

}  // namespace
}  // namespace minim::test

#include <gtest/gtest.h>

#include "runtime/backend_conformance.h"

namespace minim::test {
namespace {

const BackendKind kKinds[] = {{"cpu", [] { return make_cpu_backend(2); }},
                              {"reference", [] { return make_reference_backend(); }}};

INSTANTIATE_TEST_SUITE_P(Cpu, BackendConformance, ::testing::ValuesIn(kKinds), ::testing::PrintToStringParamName());

TEST(CpuBackend, SharesItsMemoryWithTheHost) {
  for (const BackendKind& kind : kKinds) EXPECT_TRUE(kind.make()->host_accessible());
}

}  // namespace
}  // namespace minim::test

#include "minim/runtime/cuda.h"
#include "runtime/backend_conformance.h"

namespace minim::test {
namespace {

INSTANTIATE_TEST_SUITE_P(Cuda, BackendConformance, ::testing::Values(BackendKind{"cuda", [] { return make_cuda_backend({}); }}),
                         ::testing::PrintToStringParamName());

}  // namespace
}  // namespace minim::test

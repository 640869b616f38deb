#include "gpu/kernels/cuda_set.h"
#include "runtime/local_response_norm_suite.h"

namespace minim::local_response_norm_suite {
namespace {

MINIM_FOR_CUDA(KernelLocalResponseNorm);

}  // namespace
}  // namespace minim::local_response_norm_suite

#include "runtime/bias_suite.h"

#include "gpu/kernels/cuda_set.h"

namespace minim::bias_suite {
namespace {

MINIM_FOR_CUDA(KernelBias);

}  // namespace
}  // namespace minim::bias_suite

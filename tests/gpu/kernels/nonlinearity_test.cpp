#include "runtime/nonlinearity_suite.h"

#include "gpu/kernels/cuda_set.h"

namespace minim::nonlinearity_suite {
namespace {

MINIM_FOR_CUDA(KernelNonlinearity);

}  // namespace
}  // namespace minim::nonlinearity_suite

#include "runtime/layer_norm_suite.h"

#include "gpu/kernels/cuda_set.h"

namespace minim::layer_norm_suite {
namespace {

MINIM_FOR_CUDA(KernelLayerNorm);

}  // namespace
}  // namespace minim::layer_norm_suite

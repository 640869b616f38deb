#include "runtime/embedding_suite.h"

#include "gpu/kernels/cuda_set.h"

namespace minim::embedding_suite {
namespace {

MINIM_FOR_CUDA(KernelEmbedding);

}  // namespace
}  // namespace minim::embedding_suite

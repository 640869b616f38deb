#include "cuda/cuda_kernel.h"
#include "cuda/flat.cuh"
#include "cuda/kernels.h"
#include "cuda/rows.h"
#include "minim/runtime/kernels/elementwise.h"
#include "minim/runtime/kernels/state.h"

namespace minim::cuda {
namespace state_kernels {

struct Same {
  __device__ float operator()(float value) const { return value; }
};

__global__ void commit_state(FlatLoop loop, float* committed, float* pending, const std::int32_t* applied) {
  const bool commits = *applied != 0;
  for_flat<kPack<float>>(loop, Same{}, commits ? committed : pending, commits ? pending : committed);
}

std::function<void(Stream&)> make_commit(const CommitState& args) {
  float* committed = device_pointer<float>(args.committed);
  float* pending = device_pointer<float>(args.pending);
  const auto* applied = device_pointer<std::int32_t>(args.applied);
  const FlatLoop loop = flat_loop<kPack<float>>(args.committed.elements(), committed, pending);
  return [=](Stream& stream) { launch<commit_state>(stream, shape_for<kPack<float>>(loop), loop, committed, pending, applied); };
}

std::function<void(Stream&)> make_zero(const Zero& args) { return make_fill_zero(args.y); }

}  // namespace state_kernels

void add_state_kernels(Backend& backend) {
  backend.add_kernel<CommitState>(cuda_kernel<CommitState>(state_kernels::make_commit), kSet);
  backend.add_kernel<Zero>(cuda_kernel<Zero>(state_kernels::make_zero), kSet);
}

}  // namespace minim::cuda

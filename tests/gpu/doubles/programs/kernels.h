#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

/// Launches of kernels, right and wrong ones, for the tests of the doubles. All return what cudaLaunchKernel returned.
namespace programs {

/// x[i] += value, 64 threads a block.
cudaError_t add(cudaStream_t stream, float* x, float value, std::int64_t count);
/// x[i] *= factor.
cudaError_t scale(cudaStream_t stream, float* x, float factor, std::int64_t count);
/// to[i] = from[i], in double or single precision: a template of kernels.
cudaError_t convert(cudaStream_t stream, double* to, const float* from, std::int64_t count);
cudaError_t convert(cudaStream_t stream, float* to, const double* from, std::int64_t count);
/// *sum = the sum of x in a fixed order: warps by shuffles, then warps in order. One block of 256 threads.
cudaError_t sum(cudaStream_t stream, float* sum, const float* x, std::int64_t count);
/// to[i] = from[255 - i] by way of shared memory, with the barrier that it needs or without. One block of 256 threads.
cudaError_t reverse(cudaStream_t stream, float* to, const float* from);
cudaError_t reverse_without_barrier(cudaStream_t stream, float* to, const float* from);
/// Adds one to *counter in every thread: atomically, or not. 4 blocks of 32 threads.
cudaError_t count(cudaStream_t stream, int* counter);
cudaError_t count_without_atomics(cudaStream_t stream, int* counter);
/// Every block writes its number to *where; 8 blocks of one thread.
cudaError_t write_by_all_blocks(cudaStream_t stream, int* where);
/// Writes first.number to first.x[0] and `second` to first.x[1]. The kernel gets `first` with what its padding holds.
struct Numbered {
  float number;
  float* x;
};
cudaError_t write_numbers(cudaStream_t stream, Numbered& first, float second);

/// Half of the threads wait at one barrier, half at another.
cudaError_t diverge(cudaStream_t stream);
/// Half of the threads end, the others wait at a barrier.
cudaError_t end_before_barrier(cudaStream_t stream);
/// Some lanes of a warp wait at a barrier, the others for a shuffle with all lanes.
cudaError_t wait_without_end(cudaStream_t stream);
/// A lane reads another that does not take part.
cudaError_t shuffle_with_missing_lane(cudaStream_t stream, int* to);

/// No kernel of that name is in any library.
cudaError_t launch_unknown(cudaStream_t stream);
/// A launch with a block of no threads, or with more dynamic shared memory than a kernel has without asking.
cudaError_t launch_without_threads(cudaStream_t stream);
cudaError_t launch_with_shared(cudaStream_t stream, std::size_t shared_bytes);
/// The kernel of the launch above, for calls that ask about kernels.
const void* kernel_with_shared();

}  // namespace programs

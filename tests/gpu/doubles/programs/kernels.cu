#include "programs/kernels.h"

#include "programs/launch.h"

namespace programs {
namespace kernels {

__device__ std::int64_t element() { return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }

__global__ void add(float* x, float value, std::int64_t count) {
  if (element() < count) x[element()] += value;
}

__global__ void scale(float* x, float factor, std::int64_t count) {
  if (element() < count) x[element()] *= factor;
}

template <class To, class From>
__global__ void convert(To* to, const From* from, std::int64_t count) {
  if (element() < count) to[element()] = static_cast<To>(from[element()]);
}

__global__ void __launch_bounds__(256) sum(float* sum, const float* x, std::int64_t count) {
  __shared__ float of_warp[8];
  float value = 0;
  for (std::int64_t i = threadIdx.x; i < count; i += blockDim.x) value += x[i];
  for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(0xFFFFFFFFU, value, distance);
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = value;
  __syncthreads();
  if (threadIdx.x > 0) return;
  *sum = 0;
  for (const float one : of_warp) *sum += one;
}

__global__ void reverse(float* to, const float* from) {
  __shared__ float values[256];
  values[threadIdx.x] = from[threadIdx.x];
  __syncthreads();
  to[threadIdx.x] = values[255 - threadIdx.x];
}

__global__ void reverse_without_barrier(float* to, const float* from) {
  __shared__ float values[256];
  values[threadIdx.x] = from[threadIdx.x];
  to[threadIdx.x] = values[255 - threadIdx.x];
}

__global__ void count(int* counter) { atomicAdd(counter, 1); }
__global__ void count_without_atomics(int* counter) { *counter += 1; }
__global__ void write_by_all_blocks(int* where) { *where = static_cast<int>(blockIdx.x); }

__global__ void write_numbers(Numbered first, float second) {
  first.x[0] = first.number;
  first.x[1] = second;
}

__global__ void diverge() {
  if (threadIdx.x % 2 == 0) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

__global__ void end_before_barrier() {
  if (threadIdx.x % 2 == 0) return;
  __syncthreads();
}

__global__ void wait_without_end() {
  if (threadIdx.x % 2 == 0) {
    __syncthreads();
  } else {
    __shfl_xor_sync(0xFFFFFFFFU, 1, 1);
  }
}

__global__ void shuffle_with_missing_lane(int* to) {
  if (threadIdx.x >= 16) return;
  *to = __shfl_down_sync(0x0000FFFFU, 1, 16);
}

__global__ void unknown() {}
__global__ void with_shared() {}

}  // namespace kernels

namespace {

Shape shape_for(std::int64_t count) { return {static_cast<unsigned>((count + 63) / 64), 64}; }

}  // namespace

cudaError_t add(cudaStream_t stream, float* x, float value, std::int64_t count) {
  return launch<kernels::add>(stream, shape_for(count), x, value, count);
}

cudaError_t scale(cudaStream_t stream, float* x, float factor, std::int64_t count) {
  return launch<kernels::scale>(stream, shape_for(count), x, factor, count);
}

cudaError_t convert(cudaStream_t stream, double* to, const float* from, std::int64_t count) {
  return launch<kernels::convert<double, float>>(stream, shape_for(count), to, from, count);
}

cudaError_t convert(cudaStream_t stream, float* to, const double* from, std::int64_t count) {
  return launch<kernels::convert<float, double>>(stream, shape_for(count), to, from, count);
}

cudaError_t sum(cudaStream_t stream, float* sum, const float* x, std::int64_t count) {
  return launch<kernels::sum>(stream, {1, 256}, sum, x, count);
}

cudaError_t reverse(cudaStream_t stream, float* to, const float* from) {
  return launch<kernels::reverse>(stream, {1, 256}, to, from);
}

cudaError_t reverse_without_barrier(cudaStream_t stream, float* to, const float* from) {
  return launch<kernels::reverse_without_barrier>(stream, {1, 256}, to, from);
}

cudaError_t count(cudaStream_t stream, int* counter) { return launch<kernels::count>(stream, {4, 32}, counter); }

cudaError_t count_without_atomics(cudaStream_t stream, int* counter) {
  return launch<kernels::count_without_atomics>(stream, {4, 32}, counter);
}

cudaError_t write_by_all_blocks(cudaStream_t stream, int* where) {
  return launch<kernels::write_by_all_blocks>(stream, {8, 1}, where);
}

cudaError_t write_numbers(cudaStream_t stream, Numbered& first, float second) {
  MINIM_ON_KERNEL(kernels::write_numbers);
  void* addresses[] = {&first, &second};
  return cudaLaunchKernel(reinterpret_cast<const void*>(kernels::write_numbers), dim3(1), dim3(1), addresses, 0, stream);
}

cudaError_t diverge(cudaStream_t stream) { return launch<kernels::diverge>(stream, {1, 64}); }
cudaError_t end_before_barrier(cudaStream_t stream) { return launch<kernels::end_before_barrier>(stream, {1, 64}); }
cudaError_t wait_without_end(cudaStream_t stream) { return launch<kernels::wait_without_end>(stream, {1, 64}); }

cudaError_t shuffle_with_missing_lane(cudaStream_t stream, int* to) {
  return launch<kernels::shuffle_with_missing_lane>(stream, {1, 32}, to);
}

cudaError_t launch_unknown(cudaStream_t stream) { return launch_as(kernels::unknown, stream, {1, 1}); }
cudaError_t launch_without_threads(cudaStream_t stream) { return launch<kernels::with_shared>(stream, {1, 0}); }

cudaError_t launch_with_shared(cudaStream_t stream, std::size_t shared_bytes) {
  return launch<kernels::with_shared>(stream, {1, 1, shared_bytes});
}

const void* kernel_with_shared() { return reinterpret_cast<const void*>(kernels::with_shared); }

}  // namespace programs

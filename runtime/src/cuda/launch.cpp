#include "cuda/launch.h"

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <limits>

#include "cuda/cuda_stream.h"
#include "minim/runtime/error.h"

namespace minim::cuda::detail {
namespace {

/// "minim::cuda::relu_forward<float>" out of "... [with auto kKernel = minim::cuda::relu_forward<float>; Args = ...]".
std::string_view kernel_name(std::string_view launch_of) {
  constexpr std::string_view kMark = "kKernel = ";
  const auto mark = launch_of.find(kMark);
  if (mark == std::string_view::npos) return launch_of;
  const std::string_view name = launch_of.substr(mark + kMark.size());
  return name.substr(0, name.find(';'));
}

}  // namespace

void launch_kernel(const void* kernel, std::string_view launch_of, Stream& stream, const LaunchShape& shape, void** arguments) {
  if (shape.blocks == 0) return;
  if (shape.blocks < 0 || shape.blocks > std::numeric_limits<std::int32_t>::max()) {
    throw InvalidArgument(fmt::format("kernel {}: {} blocks, 0 to 2^31 - 1 are wanted", kernel_name(launch_of), shape.blocks));
  }
  const cudaStream_t handle = handle_of(stream);
  const DeviceScope scope(device_of(stream));
  const cudaError_t status =
      cudaLaunchKernel(kernel, dim3(static_cast<unsigned>(shape.blocks)), dim3(static_cast<unsigned>(shape.threads)), arguments,
                       static_cast<std::size_t>(shape.shared_bytes), handle);
  if (status == cudaSuccess) return;
  cudaGetLastError();  // what is reported here must not be found again by an unrelated launch
  throw DeviceError(fmt::format("kernel {} of {} blocks of {} threads failed to launch with CUDA error {}: {}",
                                kernel_name(launch_of), shape.blocks, shape.threads, static_cast<int>(status),
                                cudaGetErrorString(status)));
}

}  // namespace minim::cuda::detail

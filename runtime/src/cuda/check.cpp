#include "cuda/check.h"

#include <fmt/format.h>

#include <string_view>

#include "minim/runtime/error.h"

namespace minim::cuda {

void check(cudaError_t status, const char* call, std::source_location where) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // what is reported here must not be found again by an unrelated launch
  const std::string_view file = where.file_name();
  throw DeviceError(fmt::format("{} ({}:{}) failed with CUDA error {}: {}", call, file.substr(file.rfind('/') + 1), where.line(),
                                static_cast<int>(status), cudaGetErrorString(status)));
}

}  // namespace minim::cuda

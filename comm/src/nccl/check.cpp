#include "nccl/check.h"

#include <fmt/format.h>

#include <string_view>

#include "minim/runtime/error.h"

namespace minim::nccl {

std::string describe(ncclResult_t status) {
  std::string text = fmt::format("error {}: {}", static_cast<int>(status), ncclGetErrorString(status));
  const char* const more = ncclGetLastError(nullptr);
  if (more != nullptr && *more != '\0') text += fmt::format(" ({})", more);
  return text;
}

void check(ncclResult_t status, const char* call, std::source_location where) {
  if (status == ncclSuccess || status == ncclInProgress) return;
  const std::string_view file = where.file_name();
  throw CommError(
      fmt::format("{} ({}:{}) failed with NCCL {}", call, file.substr(file.rfind('/') + 1), where.line(), describe(status)));
}

}  // namespace minim::nccl

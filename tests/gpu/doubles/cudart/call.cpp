#include "cudart/call.h"

#include <fcntl.h>
#include <unistd.h>

#include <map>
#include <mutex>
#include <string>

#include "cudart/handles.h"
#include "cudart/refuse.h"
#include "cudart/settings.h"

namespace cudart {
namespace {

thread_local cudaError_t t_last_error = cudaSuccess;
thread_local bool t_in_host_function = false;

void list(const char* function) {
  static const int file = open(settings().calls_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  const std::string line = std::string(function) + "\n";
  if (write(file, line.data(), line.size()) < 0) refuse("calls cannot be written to " + settings().calls_file);
}

std::optional<cudaError_t> injected(const char* function) {
  if (settings().failures.empty()) return std::nullopt;
  static std::mutex& mutex = *new std::mutex;
  static auto& calls = *new std::map<std::string, int>;  // outlives every thread
  const std::scoped_lock lock(mutex);
  const int call = ++calls[function];
  for (const Failure& failure : settings().failures) {
    if (failure.function == function && failure.call == call) return failure.code;
  }
  return std::nullopt;
}

/// Codes after which the device is of no use to the process.
bool loses_device(cudaError_t code) {
  switch (code) {
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure: return true;
    default: return false;
  }
}

cudaError_t begin(const char* function, std::optional<cudaError_t>& failure) {
  note_call();
  if (!settings().calls_file.empty()) list(function);
  if (t_in_host_function) return cudaErrorNotPermitted;
  failure = injected(function);
  while (failure == cudaSuccess) pause();
  if (failure && !loses_device(*failure)) return *failure;
  if (device_count() == 0) return cudaErrorNoDevice;
  return current_device().lost();
}

}  // namespace

cudaError_t begin_call(const char* function) {
  std::optional<cudaError_t> failure;
  if (const cudaError_t error = begin(function, failure); error != cudaSuccess) return error;
  if (failure) current_device().lose(*failure);
  return failure.value_or(cudaSuccess);
}

cudaError_t begin_enqueueing_call(const char* function, std::optional<cudaError_t>& later) { return begin(function, later); }

cudaError_t remember(cudaError_t error) {
  if (error != cudaSuccess) t_last_error = error;
  return error;
}

cudaError_t last_error(bool forget) {
  if (device_count() > 0 && current_device().lost() != cudaSuccess) return current_device().lost();
  const cudaError_t error = t_last_error;
  if (forget) t_last_error = cudaSuccess;
  return error;
}

std::shared_ptr<Stream> find_stream(const char* function, cudaStream_t handle) {
  if (handle == nullptr || handle == cudaStreamLegacy || handle == cudaStreamPerThread) {
    refuse(std::string(function) + " is called for the default stream, which minim does not use");
  }
  return Handles<Stream>::instance().find(handle);
}

void set_in_host_function(bool value) { t_in_host_function = value; }

}  // namespace cudart

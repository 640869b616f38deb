#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <optional>

#include "cudart/device.h"
#include "cudart/stream.h"
#include "sanitizers.h"

namespace cudart {

/// What every call begins with: the code of a failure that the environment asks for, of a lost device, of a host function that
/// calls CUDA, of a machine without devices. cudaSuccess where there is none of these.
cudaError_t begin_call(const char* function);
/// The same for calls that enqueue. A code that real devices report later, such as an illegal address, does not come back here:
/// it is left in `later`.
cudaError_t begin_enqueueing_call(const char* function, std::optional<cudaError_t>& later);

/// Keeps an error for cudaGetLastError. Returns it.
cudaError_t remember(cudaError_t error);
/// The last error of the calling thread; forgets it, unless the device is lost.
cudaError_t last_error(bool forget);

/// The stream of a handle: null where there is none. Refuses the default streams.
std::shared_ptr<Stream> find_stream(const char* function, cudaStream_t handle);

/// Host functions of streams must not call CUDA: while `value` holds, the calling thread's calls are not permitted.
void set_in_host_function(bool value);

/// Runs the body of a function of the API.
template <class Body>
cudaError_t call(const char* function, Body body) {
  const doubles::Hidden hidden;
  const cudaError_t error = begin_call(function);
  return remember(error != cudaSuccess ? error : body());
}

/// Runs `body(stream)` of a function that does not enqueue.
template <class Body>
cudaError_t call_about(const char* function, cudaStream_t handle, Body body) {
  return call(function, [&]() -> cudaError_t {
    const std::shared_ptr<Stream> stream = find_stream(function, handle);
    return stream ? body(stream) : cudaErrorInvalidResourceHandle;
  });
}

/// Runs `body(stream)` of a function that enqueues.
template <class Body>
cudaError_t call_on(const char* function, cudaStream_t handle, Body body) {
  const doubles::Hidden hidden;
  std::optional<cudaError_t> later;
  if (const cudaError_t error = begin_enqueueing_call(function, later); error != cudaSuccess) return remember(error);
  const std::shared_ptr<Stream> stream = find_stream(function, handle);
  if (!stream) return remember(cudaErrorInvalidResourceHandle);
  if (!later) return remember(body(stream));
  stream->push({"an injected failure", [stream = stream.get(), code = *later] { stream->device().lose(code); }});
  return cudaSuccess;
}

}  // namespace cudart

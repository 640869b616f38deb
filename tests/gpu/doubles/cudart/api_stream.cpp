// Streams and events, and the interface for the other doubles.
#include <string>

#include "cudart/call.h"
#include "cudart/capture.h"
#include "cudart/handles.h"
#include "cudart/refuse.h"
#include "double.h"

namespace cudart {
namespace {

constexpr int kHighestPriority = -5;

cudaError_t make_stream(const char* function, cudaStream_t* handle, unsigned flags, int priority) {
  return call(function, [&]() -> cudaError_t {
    if (flags != cudaStreamDefault && flags != cudaStreamNonBlocking) return cudaErrorInvalidValue;
    const int kept = std::clamp(priority, kHighestPriority, 0);
    auto stream = Stream::make(current_device(), flags == cudaStreamDefault, kept);
    *handle = Handles<Stream>::instance().add<cudaStream_t>(std::move(stream));
    return cudaSuccess;
  });
}

/// Runs `body(event)`.
template <class Body>
cudaError_t call_about(const char* function, cudaEvent_t handle, Body body) {
  return call(function, [&]() -> cudaError_t {
    const auto event = Handles<Event>::instance().find(handle);
    return event ? body(event) : cudaErrorInvalidResourceHandle;
  });
}

/// The point of an event that the host wants to know of; null where it was never recorded.
cudaError_t point_for_host(const Event& event, std::shared_ptr<Point>& point) {
  if (const cudaError_t error = point_of(event, point); error != cudaSuccess) return error;
  return check_allowed_during_capture();
}

}  // namespace
}  // namespace cudart

using namespace cudart;

extern "C" cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return make_stream("cudaStreamCreate", stream, cudaStreamDefault, 0);
}

extern "C" cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return make_stream("cudaStreamCreateWithFlags", stream, flags, 0);
}

extern "C" cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int priority) {
  return make_stream("cudaStreamCreateWithPriority", stream, flags, priority);
}

extern "C" cudaError_t cudaStreamDestroy(cudaStream_t handle) {
  return call_about("cudaStreamDestroy", handle, [&](const std::shared_ptr<Stream>& stream) -> cudaError_t {
    if (capture_status(*stream, nullptr) != cudaStreamCaptureStatusNone) return cudaErrorStreamCaptureUnsupported;
    Handles<Stream>::instance().remove(handle);
    stream->close();
    return cudaSuccess;
  });
}

extern "C" cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  return call_about("cudaStreamSynchronize", handle, [](const std::shared_ptr<Stream>& stream) -> cudaError_t {
    if (const cudaError_t error = check_not_captured(*stream); error != cudaSuccess) return error;
    stream->mark()->wait();
    return stream->device().lost();
  });
}

extern "C" cudaError_t cudaStreamQuery(cudaStream_t handle) {
  return call_about("cudaStreamQuery", handle, [](const std::shared_ptr<Stream>& stream) -> cudaError_t {
    if (const cudaError_t error = check_not_captured(*stream); error != cudaSuccess) return error;
    return stream->query() ? stream->device().lost() : cudaErrorNotReady;
  });
}

extern "C" cudaError_t cudaStreamGetPriority(cudaStream_t handle, int* priority) {
  return call_about("cudaStreamGetPriority", handle, [&](const std::shared_ptr<Stream>& stream) -> cudaError_t {
    *priority = stream->priority();
    return cudaSuccess;
  });
}

extern "C" cudaError_t cudaStreamGetFlags(cudaStream_t handle, unsigned* flags) {
  return call_about("cudaStreamGetFlags", handle, [&](const std::shared_ptr<Stream>& stream) -> cudaError_t {
    *flags = stream->is_blocking() ? cudaStreamDefault : cudaStreamNonBlocking;
    return cudaSuccess;
  });
}

extern "C" cudaError_t cudaStreamGetDevice(cudaStream_t handle, int* device) {
  return call_about("cudaStreamGetDevice", handle, [&](const std::shared_ptr<Stream>& stream) -> cudaError_t {
    *device = stream->device().index();
    return cudaSuccess;
  });
}

extern "C" cudaError_t cudaDeviceGetStreamPriorityRange(int* lowest, int* highest) {
  return call("cudaDeviceGetStreamPriorityRange", [&]() -> cudaError_t {
    *lowest = 0;
    *highest = kHighestPriority;
    return cudaSuccess;
  });
}

extern "C" cudaError_t cudaDeviceSynchronize() {
  return call("cudaDeviceSynchronize", []() -> cudaError_t {
    Device& device = current_device();
    if (const cudaError_t error = check_none_captured(device); error != cudaSuccess) return error;
    wait_for_all_streams(device);
    return device.lost();
  });
}

extern "C" cudaError_t cudaEventCreateWithFlags(cudaEvent_t* handle, unsigned flags) {
  return call("cudaEventCreateWithFlags", [&]() -> cudaError_t {
    *handle = Handles<Event>::instance().add<cudaEvent_t>(std::make_shared<Event>(Event{current_device(), flags}));
    return cudaSuccess;
  });
}

extern "C" cudaError_t cudaEventCreate(cudaEvent_t* handle) { return cudaEventCreateWithFlags(handle, cudaEventDefault); }

extern "C" cudaError_t cudaEventDestroy(cudaEvent_t handle) {
  return call("cudaEventDestroy",
              [&] { return Handles<Event>::instance().remove(handle) ? cudaSuccess : cudaErrorInvalidResourceHandle; });
}

extern "C" cudaError_t cudaEventRecordWithFlags(cudaEvent_t handle, cudaStream_t stream_handle, unsigned flags) {
  return call_on("cudaEventRecord", stream_handle, [&](const std::shared_ptr<Stream>& stream) -> cudaError_t {
    const auto event = Handles<Event>::instance().find(handle);
    if (!event || &event->device != &stream->device()) return cudaErrorInvalidResourceHandle;
    return flags == cudaEventRecordExternal ? record_external(event, stream) : record(*event, stream);
  });
}

extern "C" cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return cudaEventRecordWithFlags(event, stream, cudaEventRecordDefault);
}

extern "C" cudaError_t cudaStreamWaitEvent(cudaStream_t stream_handle, cudaEvent_t handle, unsigned flags) {
  return call_on("cudaStreamWaitEvent", stream_handle, [&](const std::shared_ptr<Stream>& stream) -> cudaError_t {
    const auto event = Handles<Event>::instance().find(handle);
    if (!event) return cudaErrorInvalidResourceHandle;
    return flags == cudaEventWaitExternal ? wait_external(stream, event) : wait(stream, *event);
  });
}

extern "C" cudaError_t cudaEventSynchronize(cudaEvent_t handle) {
  return call_about("cudaEventSynchronize", handle, [](const std::shared_ptr<Event>& event) -> cudaError_t {
    std::shared_ptr<Point> point;
    if (const cudaError_t error = point_for_host(*event, point); error != cudaSuccess) return error;
    if (point) point->wait();
    return event->device.lost();
  });
}

extern "C" cudaError_t cudaEventQuery(cudaEvent_t handle) {
  return call_about("cudaEventQuery", handle, [](const std::shared_ptr<Event>& event) -> cudaError_t {
    std::shared_ptr<Point> point;
    if (const cudaError_t error = point_for_host(*event, point); error != cudaSuccess) return error;
    if (!point) return event->device.lost();
    point->stream->ask(point->ticket);
    if (!point->done()) return cudaErrorNotReady;
    point->reached.observe();
    return event->device.lost();
  });
}

extern "C" cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin_handle, cudaEvent_t end_handle) {
  return call("cudaEventElapsedTime", [&]() -> cudaError_t {
    const auto begin = Handles<Event>::instance().find(begin_handle), end = Handles<Event>::instance().find(end_handle);
    if (!begin || !end || ((begin->flags | end->flags) & cudaEventDisableTiming) != 0) return cudaErrorInvalidResourceHandle;
    std::shared_ptr<Point> from, to;
    if (const cudaError_t error = point_for_host(*begin, from); error != cudaSuccess) return error;
    if (const cudaError_t error = point_for_host(*end, to); error != cudaSuccess) return error;
    if (!from || !to) return cudaErrorInvalidResourceHandle;
    if (!from->done() || !to->done()) return cudaErrorNotReady;
    *milliseconds = std::chrono::duration<float, std::milli>(to->time - from->time).count();
    return cudaSuccess;
  });
}

void double_enqueue(void* handle, void (*work)(void*), void* context) {
  const doubles::Hidden hidden;
  note_call();
  const auto stream = find_stream("double_enqueue", static_cast<cudaStream_t>(handle));
  if (!stream) refuse("a library's double is given a stream that does not exist");
  if (capture_status(*stream, nullptr) != cudaStreamCaptureStatusNone) {
    refuse("work that can run once only is enqueued in a stream that is being captured");
  }
  stream->push({"work of a library's double", [work, context] { work(context); }});
}

void double_enqueue_owned(void* handle, const char* name, void (*work)(void*), void (*drop)(void*), void* context) {
  const doubles::Hidden hidden;
  note_call();
  const auto stream = find_stream(name, static_cast<cudaStream_t>(handle));
  if (!stream) refuse(std::string(name) + " is given a stream that does not exist");
  const std::shared_ptr<void> owner(context, drop);
  // A capture that is invalid already drops the work; the program learns of it when the capture ends.
  submit(stream, {name, [work, owner] { work(owner.get()); }});
}

int double_is_capturing(void* handle) {
  const doubles::Hidden hidden;
  const auto stream = find_stream("double_is_capturing", static_cast<cudaStream_t>(handle));
  return stream && capture_status(*stream, nullptr) != cudaStreamCaptureStatusNone ? 1 : 0;
}

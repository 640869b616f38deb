#include "cudart/capture.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <set>
#include <utility>

#include "cudart/refuse.h"

namespace cudart {
namespace {

std::mutex g_mutex;

/// Captures under way.
std::set<std::shared_ptr<Capture>>& captures() {
  static auto& captures = *new std::set<std::shared_ptr<Capture>>;  // outlives every thread
  return captures;
}

thread_local cudaStreamCaptureMode t_mode = cudaStreamCaptureModeGlobal;

cudaError_t invalidate(Capture& capture, cudaError_t error) {
  capture.is_invalid = true;
  return error;
}

/// Where the stream is being captured: whether it still can be.
cudaError_t check_valid(const Stream& stream) {
  return stream.capture && stream.capture->is_invalid ? cudaErrorStreamCaptureInvalidated : cudaSuccess;
}

bool forbids_unsafe_calls(const Capture& capture) {
  if (t_mode == cudaStreamCaptureModeRelaxed) return false;
  if (capture.thread() == std::this_thread::get_id()) return capture.mode() != cudaStreamCaptureModeRelaxed;
  return t_mode == cudaStreamCaptureModeGlobal && capture.mode() == cudaStreamCaptureModeGlobal;
}

/// Invalidates the captures for which `is_meant` holds.
template <class F>
cudaError_t forbid(F is_meant) {
  cudaError_t error = cudaSuccess;
  for (const auto& capture : captures()) {
    if (is_meant(*capture)) error = invalidate(*capture, cudaErrorStreamCaptureUnsupported);
  }
  return error;
}

}  // namespace

Capture::Capture(std::shared_ptr<Stream> origin, cudaStreamCaptureMode mode) : origin_(std::move(origin)), mode_(mode) {
  static std::atomic<unsigned long long> captures = 0;
  id_ = ++captures;
}

void Capture::add(const Stream& stream, Operation operation) {
  Branch& branch = branches_.at(&stream);
  graph_->nodes.push_back({std::move(operation), branch.tips, branch.lane, stream.number()});
  branch.tips = {static_cast<int>(graph_->nodes.size()) - 1};
}

void Capture::join(const std::shared_ptr<Stream>& stream, const std::vector<int>& tips) {
  auto found = branches_.find(stream.get());
  if (found == branches_.end()) found = branches_.emplace(stream.get(), Branch{stream, graph_->lanes++, {}}).first;
  std::vector<int>& own = found->second.tips;
  for (const int tip : tips) {
    if (std::find(own.begin(), own.end(), tip) == own.end()) own.push_back(tip);
  }
}

bool Capture::is_joined() const {
  std::vector<bool> joined(graph_->nodes.size());
  for (const int tip : branches_.at(origin_.get()).tips) joined[static_cast<std::size_t>(tip)] = true;
  for (std::size_t i = joined.size(); i-- > 0;) {  // a node waits for earlier ones only
    if (!joined[i]) return false;
    for (const int before : graph_->nodes[i].after) joined[static_cast<std::size_t>(before)] = true;
  }
  return true;
}

void Capture::release() {
  for (const auto& [address, branch] : branches_) branch.stream->capture = nullptr;
  branches_.clear();
}

cudaError_t submit(const std::shared_ptr<Stream>& stream, Operation operation) {
  const std::scoped_lock lock(g_mutex);
  if (!stream->capture) {
    stream->push(std::move(operation));
    return cudaSuccess;
  }
  const cudaError_t error = check_valid(*stream);
  if (error == cudaSuccess) stream->capture->add(*stream, std::move(operation));
  return error;
}

cudaError_t record(Event& event, const std::shared_ptr<Stream>& stream) {
  const std::scoped_lock lock(g_mutex);
  if (const cudaError_t error = check_valid(*stream); error != cudaSuccess) return error;
  event.capture = stream->capture;
  event.tips = stream->capture ? stream->capture->tips(*stream) : std::vector<int>();
  event.point = stream->capture ? nullptr : stream->mark();
  return cudaSuccess;
}

cudaError_t record_external(const std::shared_ptr<Event>& event, const std::shared_ptr<Stream>& stream) {
  {
    const std::scoped_lock lock(g_mutex);
    if (const cudaError_t error = check_valid(*stream); error != cudaSuccess) return error;
    if (stream->capture) {
      stream->capture->graph()->records.push_back(event);
      return cudaSuccess;
    }
  }
  return cudaErrorIllegalState;
}

cudaError_t wait(const std::shared_ptr<Stream>& stream, Event& event) {
  const std::scoped_lock lock(g_mutex);
  if (const cudaError_t error = check_valid(*stream); error != cudaSuccess) return error;
  const std::shared_ptr<Capture>& of_event = event.capture;
  const std::shared_ptr<Capture>& of_stream = stream->capture;
  if (!of_event && of_stream) return invalidate(*of_stream, cudaErrorStreamCaptureIsolation);
  if (!of_event) {
    if (event.point) stream->push({"a wait for an event", [point = event.point] { point->wait(); }});
    return cudaSuccess;
  }
  if (of_event->is_over()) return of_stream ? invalidate(*of_stream, cudaErrorStreamCaptureMerge) : cudaErrorCapturedEvent;
  if (of_event->is_invalid) return cudaErrorStreamCaptureInvalidated;
  if (of_stream && of_stream != of_event) {
    invalidate(*of_event, cudaErrorStreamCaptureMerge);
    return invalidate(*of_stream, cudaErrorStreamCaptureMerge);
  }
  const std::shared_ptr<Capture> capture = of_event;
  capture->join(stream, event.tips);
  stream->capture = capture;
  return cudaSuccess;
}

cudaError_t wait_external(const std::shared_ptr<Stream>& stream, const std::shared_ptr<Event>& event) {
  {
    const std::scoped_lock lock(g_mutex);
    if (const cudaError_t error = check_valid(*stream); error != cudaSuccess) return error;
    if (stream->capture) {
      stream->capture->graph()->waits.push_back(event);
      return cudaSuccess;
    }
  }
  return cudaErrorIllegalState;
}

cudaError_t point_of(const Event& event, std::shared_ptr<Point>& point) {
  const std::scoped_lock lock(g_mutex);
  if (event.capture) {
    if (!event.capture->is_over()) invalidate(*event.capture, cudaErrorCapturedEvent);
    return cudaErrorCapturedEvent;
  }
  point = event.point;
  return cudaSuccess;
}

cudaError_t begin_capture(const std::shared_ptr<Stream>& stream, cudaStreamCaptureMode mode) {
  const std::scoped_lock lock(g_mutex);
  if (stream->capture) return invalidate(*stream->capture, cudaErrorIllegalState);
  auto capture = std::make_shared<Capture>(stream, mode);
  capture->join(stream, {});
  stream->capture = capture;
  captures().insert(std::move(capture));
  return cudaSuccess;
}

cudaError_t end_capture(const std::shared_ptr<Stream>& stream, std::shared_ptr<Graph>& graph) {
  const std::scoped_lock lock(g_mutex);
  const std::shared_ptr<Capture> capture = stream->capture;
  if (!capture) return cudaErrorIllegalState;
  if (capture->mode() != cudaStreamCaptureModeRelaxed && capture->thread() != std::this_thread::get_id()) {
    return invalidate(*capture, cudaErrorStreamCaptureWrongThread);
  }
  if (&capture->origin() != stream.get()) return invalidate(*capture, cudaErrorStreamCaptureUnmatched);
  cudaError_t error = cudaSuccess;
  if (capture->is_invalid) error = cudaErrorStreamCaptureInvalidated;
  if (error == cudaSuccess && !capture->is_joined()) error = cudaErrorStreamCaptureUnjoined;
  if (error == cudaSuccess) graph = capture->graph();
  capture->release();
  captures().erase(capture);
  return error;
}

cudaStreamCaptureStatus capture_status(const Stream& stream, unsigned long long* id) {
  const std::scoped_lock lock(g_mutex);
  if (!stream.capture) return cudaStreamCaptureStatusNone;
  if (id != nullptr) *id = stream.capture->id();
  return stream.capture->is_invalid ? cudaStreamCaptureStatusInvalidated : cudaStreamCaptureStatusActive;
}

cudaStreamCaptureMode exchange_capture_mode(cudaStreamCaptureMode mode) { return std::exchange(t_mode, mode); }

cudaError_t check_allowed_during_capture() {
  const std::scoped_lock lock(g_mutex);
  return forbid(forbids_unsafe_calls);
}

cudaError_t check_not_captured(const Stream& stream) {
  const std::scoped_lock lock(g_mutex);
  if (stream.capture) return invalidate(*stream.capture, cudaErrorStreamCaptureUnsupported);
  return forbid(forbids_unsafe_calls);
}

cudaError_t check_none_captured(const Device& device) {
  const std::scoped_lock lock(g_mutex);
  return forbid([&](const Capture& capture) { return &capture.origin().device() == &device || forbids_unsafe_calls(capture); });
}

}  // namespace cudart

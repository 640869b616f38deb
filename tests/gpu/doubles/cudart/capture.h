#pragma once

#include <driver_types.h>

#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "cudart/graph.h"
#include "cudart/stream.h"

namespace cudart {

/// An event: nothing, a point of a stream, or a place in a capture.
struct Event {
  Device& device;
  unsigned flags = 0;
  std::shared_ptr<Point> point;
  std::shared_ptr<Capture> capture;
  std::vector<int> tips;  ///< nodes of the capture that the event waits for
};

/// Streams whose operations become nodes of a graph instead of running.
class Capture {
 public:
  Capture(std::shared_ptr<Stream> origin, cudaStreamCaptureMode mode);

  void add(const Stream& stream, Operation operation);
  /// `stream` goes on behind `tips`, and is captured from here on.
  void join(const std::shared_ptr<Stream>& stream, const std::vector<int>& tips);
  std::vector<int> tips(const Stream& stream) const { return branches_.at(&stream).tips; }
  /// Whether all nodes are behind what the origin waits for.
  bool is_joined() const;
  /// Its streams run again what they are given. Whoever asks finds the capture over.
  void release();

  const Stream& origin() const { return *origin_; }
  cudaStreamCaptureMode mode() const { return mode_; }
  std::thread::id thread() const { return thread_; }
  unsigned long long id() const { return id_; }
  const std::shared_ptr<Graph>& graph() const { return graph_; }
  bool is_over() const { return branches_.empty(); }

  bool is_invalid = false;

 private:
  struct Branch {
    std::shared_ptr<Stream> stream;
    int lane;
    std::vector<int> tips;
  };

  std::shared_ptr<Stream> origin_;
  cudaStreamCaptureMode mode_;
  std::thread::id thread_ = std::this_thread::get_id();
  unsigned long long id_;
  std::shared_ptr<Graph> graph_ = std::make_shared<Graph>();
  std::map<const Stream*, Branch> branches_;
};

// The calls of the API that captures change; all take the captures' lock.

/// Enqueues the operation, or makes it a node of the graph that the stream is captured into.
cudaError_t submit(const std::shared_ptr<Stream>& stream, Operation operation);
cudaError_t record(Event& event, const std::shared_ptr<Stream>& stream);
/// Records at the end of the graph that the stream is captured into.
cudaError_t record_external(const std::shared_ptr<Event>& event, const std::shared_ptr<Stream>& stream);
cudaError_t wait(const std::shared_ptr<Stream>& stream, Event& event);
/// Waits at the start of the graph that the stream is captured into.
cudaError_t wait_external(const std::shared_ptr<Stream>& stream, const std::shared_ptr<Event>& event);
/// The point that the event stands for; null where it has never been recorded. An error where it stands for a place in a capture.
cudaError_t point_of(const Event& event, std::shared_ptr<Point>& point);

cudaError_t begin_capture(const std::shared_ptr<Stream>& stream, cudaStreamCaptureMode mode);
cudaError_t end_capture(const std::shared_ptr<Stream>& stream, std::shared_ptr<Graph>& graph);
cudaStreamCaptureStatus capture_status(const Stream& stream, unsigned long long* id);
cudaStreamCaptureMode exchange_capture_mode(cudaStreamCaptureMode mode);

/// For calls that a capture under way forbids, in the words of CUDA "potentially unsafe": the error that they return, upon which
/// the captures in question are invalid.
cudaError_t check_allowed_during_capture();
/// The same for calls that wait for, or ask about, the work of `stream` or of all streams of a device.
cudaError_t check_not_captured(const Stream& stream);
cudaError_t check_none_captured(const Device& device);

}  // namespace cudart

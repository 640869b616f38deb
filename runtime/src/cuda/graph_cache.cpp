#include "cuda/graph_cache.h"

#include <fmt/format.h>

#include <utility>

#include "cuda/check.h"
#include "minim/runtime/error.h"

namespace minim::cuda {
namespace {

/// Shorter sequences gain nothing.
constexpr std::size_t kShortest = 4;
/// A step has two or three per bucket and micro-batch; more than this is not a step.
constexpr std::size_t kMostSequences = 256;

void enqueue_each(const std::vector<const CudaKernelCall*>& calls, Stream& stream) {
  for (const CudaKernelCall* call : calls) call->enqueue(stream);
}

/// Kernels that are enqueued while this lives become nodes of a graph. Other threads may call CUDA as they like.
class Capture {
 public:
  explicit Capture(cudaStream_t stream) : stream_(stream) {
    check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  }
  ~Capture() {
    if (stream_ != nullptr) cudaStreamEndCapture(stream_, &graph_);
    if (graph_ != nullptr) cudaGraphDestroy(graph_);
    cudaGetLastError();
  }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  ExecutableGraph finish() {
    check(cudaStreamEndCapture(std::exchange(stream_, nullptr), &graph_), "cudaStreamEndCapture");
    cudaGraphExec_t executable = nullptr;
    check(cudaGraphInstantiate(&executable, graph_, 0), "cudaGraphInstantiate");
    return ExecutableGraph(executable);
  }

 private:
  cudaStream_t stream_;
  cudaGraph_t graph_ = nullptr;
};

}  // namespace

ExecutableGraph::~ExecutableGraph() {
  if (handle_ != nullptr) cudaGraphExecDestroy(handle_);
}

ExecutableGraph& ExecutableGraph::operator=(ExecutableGraph&& other) noexcept {
  std::swap(handle_, other.handle_);
  return *this;
}

void GraphCache::enqueue(const std::vector<const CudaKernelCall*>& calls, Stream& stream, cudaStream_t handle) {
  if (calls.size() < kShortest) return enqueue_each(calls, stream);
  numbers_.clear();
  for (const CudaKernelCall* call : calls) numbers_.push_back(call->number());
  const auto found = sequences_.find(numbers_);
  if (found == sequences_.end()) {
    // The first time, libraries load kernels and open handles, which cannot be captured.
    if (make_room()) sequences_.emplace(numbers_, Sequence());
    return enqueue_each(calls, stream);
  }
  Sequence& sequence = found->second;
  if (!sequence.graph && !sequence.refused) capture(sequence, calls, stream, handle);
  if (!sequence.graph) return enqueue_each(calls, stream);
  check(cudaGraphLaunch(sequence.graph.get(), handle), "cudaGraphLaunch");
}

/// Forgets what came once when there are too many. False when all have come again.
bool GraphCache::make_room() {
  if (sequences_.size() < kMostSequences) return true;
  std::erase_if(sequences_, [](const auto& known) { return !known.second.graph && !known.second.refused; });
  return sequences_.size() < kMostSequences;
}

void GraphCache::capture(Sequence& sequence, const std::vector<const CudaKernelCall*>& calls, Stream& stream,
                         cudaStream_t handle) const {
  try {
    Capture capture(handle);
    enqueue_each(calls, stream);
    sequence.graph = capture.finish();
  } catch (const std::exception& error) {
    sequence.refused = true;
    if (use_ == CudaGraphs::on) {
      throw DeviceError(fmt::format("{} kernels cannot be captured as a CUDA graph: {}", calls.size(), error.what()));
    }
  }
}

}  // namespace minim::cuda

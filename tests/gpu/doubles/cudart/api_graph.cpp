// Capture of streams into graphs, and graphs.
#include "cudart/call.h"
#include "cudart/capture.h"
#include "cudart/graph.h"
#include "cudart/handles.h"
#include "cudart/refuse.h"

using namespace cudart;

extern "C" cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode) {
  return call_about("cudaStreamBeginCapture", handle,
                    [&](const std::shared_ptr<Stream>& stream) { return begin_capture(stream, mode); });
}

extern "C" cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* graph_handle) {
  return call_about("cudaStreamEndCapture", handle, [&](const std::shared_ptr<Stream>& stream) -> cudaError_t {
    *graph_handle = nullptr;
    std::shared_ptr<Graph> graph;
    const cudaError_t error = end_capture(stream, graph);
    if (graph) *graph_handle = Handles<Graph>::instance().add<cudaGraph_t>(std::move(graph));
    return error;
  });
}

extern "C" cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
  return call_about("cudaStreamIsCapturing", handle, [&](const std::shared_ptr<Stream>& stream) -> cudaError_t {
    *status = capture_status(*stream, nullptr);
    return cudaSuccess;
  });
}

extern "C" cudaError_t cudaStreamGetCaptureInfo(cudaStream_t handle, cudaStreamCaptureStatus* status, unsigned long long* id,
                                                cudaGraph_t* graph, const cudaGraphNode_t** dependencies,
                                                const cudaGraphEdgeData** edges, std::size_t* count) {
  return call_about("cudaStreamGetCaptureInfo", handle, [&](const std::shared_ptr<Stream>& stream) -> cudaError_t {
    if (graph != nullptr || dependencies != nullptr || edges != nullptr || count != nullptr) {
      refuse("cudaStreamGetCaptureInfo is asked for more than this double tells: status and number of the capture");
    }
    *status = capture_status(*stream, id);
    return cudaSuccess;
  });
}

extern "C" cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  return call("cudaThreadExchangeStreamCaptureMode", [&]() -> cudaError_t {
    *mode = exchange_capture_mode(*mode);
    return cudaSuccess;
  });
}

extern "C" cudaError_t cudaGraphGetNodes(cudaGraph_t handle, cudaGraphNode_t* nodes, std::size_t* count) {
  return call("cudaGraphGetNodes", [&]() -> cudaError_t {
    const auto graph = Handles<Graph>::instance().find(handle);
    if (!graph || nodes != nullptr) return cudaErrorInvalidValue;  // nodes have no handles here, only a number
    *count = graph->nodes.size();
    return cudaSuccess;
  });
}

extern "C" cudaError_t cudaGraphDestroy(cudaGraph_t handle) {
  return call("cudaGraphDestroy",
              [&] { return Handles<Graph>::instance().remove(handle) ? cudaSuccess : cudaErrorInvalidValue; });
}

extern "C" cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t handle, unsigned long long /*flags*/) {
  return call("cudaGraphInstantiate", [&]() -> cudaError_t {
    const auto graph = Handles<Graph>::instance().find(handle);
    if (!graph) return cudaErrorInvalidValue;
    auto made = std::make_shared<GraphRun>(current_device(), graph);
    *executable = Handles<GraphRun>::instance().add<cudaGraphExec_t>(std::move(made));
    return cudaSuccess;
  });
}

extern "C" cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long flags) {
  return cudaGraphInstantiate(executable, graph, flags);
}

extern "C" cudaError_t cudaGraphUpload(cudaGraphExec_t handle, cudaStream_t stream_handle) {
  return call_on("cudaGraphUpload", stream_handle, [&](const std::shared_ptr<Stream>& /*stream*/) {
    return Handles<GraphRun>::instance().find(handle) ? cudaSuccess : cudaErrorInvalidValue;
  });
}

extern "C" cudaError_t cudaGraphLaunch(cudaGraphExec_t handle, cudaStream_t stream_handle) {
  return call_on("cudaGraphLaunch", stream_handle, [&](const std::shared_ptr<Stream>& stream) -> cudaError_t {
    const auto graph = Handles<GraphRun>::instance().find(handle);
    return graph ? launch(graph, stream) : cudaErrorInvalidValue;
  });
}

extern "C" cudaError_t cudaGraphExecDestroy(cudaGraphExec_t handle) {
  return call("cudaGraphExecDestroy",
              [&] { return Handles<GraphRun>::instance().remove(handle) ? cudaSuccess : cudaErrorInvalidValue; });
}

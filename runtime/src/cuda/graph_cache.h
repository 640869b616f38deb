#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <map>
#include <vector>

#include "cuda/cuda_kernel.h"
#include "minim/runtime/cuda.h"

namespace minim::cuda {

/// A CUDA graph that can be launched.
class ExecutableGraph {
 public:
  ExecutableGraph() = default;
  explicit ExecutableGraph(cudaGraphExec_t handle) : handle_(handle) {}
  ~ExecutableGraph();
  ExecutableGraph(ExecutableGraph&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  ExecutableGraph& operator=(ExecutableGraph&& other) noexcept;

  cudaGraphExec_t get() const { return handle_; }
  explicit operator bool() const { return handle_ != nullptr; }

 private:
  cudaGraphExec_t handle_ = nullptr;
};

/// Enqueues sequences of kernels on one stream. One that comes again is captured as a CUDA graph, and launched as that from then
/// on: a step's kernels between two events cost the host one call.
class GraphCache {
 public:
  explicit GraphCache(CudaGraphs use) : use_(use) {}

  /// `stream` is the one with that handle, every time. Throws DeviceError, also where graphs are `CudaGraphs::on` and kernels
  /// cannot be captured.
  void enqueue(const std::vector<const CudaKernelCall*>& calls, Stream& stream, cudaStream_t handle);

 private:
  struct Sequence {
    ExecutableGraph graph;
    bool refused = false;  ///< it cannot be captured
  };

  bool make_room();
  void capture(Sequence& sequence, const std::vector<const CudaKernelCall*>& calls, Stream& stream, cudaStream_t handle) const;

  CudaGraphs use_;
  std::vector<std::uint64_t> numbers_;  // of the calls in hand
  std::map<std::vector<std::uint64_t>, Sequence> sequences_;
};

}  // namespace minim::cuda

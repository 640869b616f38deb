#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>
#include <string>

#include "cuda/cuda_device.h"
#include "minim/runtime/stream.h"

namespace minim::cuda {

/// Kernels of a stream with high priority go before others that wait for room on the device.
enum class StreamPriority : std::uint8_t { normal, high };

class CudaKernelCall;

/// A stream of `device`, which never synchronises with the default stream. With graphs, kernels are kept back until something
/// else is asked of the stream, and then enqueued together.
///
/// Host functions (`enqueue`, and waiting for events of the host) run on a thread of the driver. They may wait, but not for other
/// host functions of the device, since the driver may run these one after the other, and must not call CUDA.
/// A host function that throws fails the device, as a kernel's fault does: later host functions of all its streams do not run,
/// and `synchronize` and events recorded later rethrow. Kernels that are enqueued already run all the same.
std::unique_ptr<Stream> make_cuda_stream(std::shared_ptr<CudaDevice> device, std::string name,
                                         StreamPriority priority = StreamPriority::normal, CudaGraphs graphs = CudaGraphs::off);

/// Launches a kernel's call, in its turn. Throws InvalidArgument for a stream of another backend.
void give(Stream& stream, const CudaKernelCall& call);
std::uint64_t next_call_number();

/// The stream's handle, for what is enqueued by hand: everything before is in the stream. Throws InvalidArgument for a stream of
/// another backend.
cudaStream_t handle_of(Stream& stream);

/// Whether streams of CUDA wait for the event without the host.
bool is_of_cuda(const Event& event);

/// The device that the stream belongs to. Throws InvalidArgument for a stream of another backend.
CudaDevice& device_of(Stream& stream);

/// What cuDNN keeps for a stream. Destroyed with the stream, after its work has run.
class StreamState {
 public:
  virtual ~StreamState() = default;
};

/// Null until somebody puts something there. Throws InvalidArgument for a stream of another backend.
std::unique_ptr<StreamState>& state_of(Stream& stream);

}  // namespace minim::cuda

#include <gtest/gtest.h>

#include "minim/runtime/cuda.h"
#include "minim/runtime/kernels/elementwise.h"

/// What is said where CUDA fails. Each test is a process of its own, in which the double of libcudart fails as the test's name
/// says; see CMakeLists.txt.
namespace minim::gpu {
namespace {

/// What `work` throws as a DeviceError; empty when nothing.
template <class Work>
std::string failure_of(const Work& work) {
  try {
    work();
  } catch (const DeviceError& error) {
    return error.what();
  }
  return {};
}

bool says(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(CudaFaults, InTheSearchForDevices) {
  std::string reason;
  EXPECT_EQ(cuda_device_count(reason), 0);
  EXPECT_TRUE(says(reason, "there is no NVIDIA driver, or one that is older than CUDA ")) << reason;
  EXPECT_EQ(failure_of([] { make_cuda_backend({}); }), reason) << "the next call fails as well";
}

TEST(CudaFaults, InALaunch) {
  const auto backend = make_cuda_backend({});
  const auto stream = backend->make_stream("test");
  const Tensor x = backend->allocate_tensor(DType::fp16, {1000}, MemoryKind::workspace);
  const std::string failure = failure_of([&] { backend->run(*stream, ReluForward{.x = x, .y = x}); });
  EXPECT_TRUE(says(failure, "relu_forward<__half>")) << failure;
  EXPECT_TRUE(says(failure, "1 blocks of 256 threads failed to launch with CUDA error 701")) << failure;
  backend->run(*stream, ReluForward{.x = x, .y = x});  // the device is as it was
}

TEST(CudaFaults, InAKernel) {
  const auto backend = make_cuda_backend({});
  const auto stream = backend->make_stream("test"), other = backend->make_stream("other");
  const Tensor x = backend->allocate_tensor(DType::fp16, {1000}, MemoryKind::workspace);
  const auto kernel = backend->prepare(ReluForward{.x = x, .y = x});
  const Event gate = Event::manual();
  stream->wait(gate);
  kernel->launch(*stream);  // the fault comes later
  const Event after = stream->record();
  gate.set();
  EXPECT_TRUE(says(failure_of([&] { after.wait(); }), "CUDA error 700"));
  EXPECT_TRUE(after.done());
  EXPECT_TRUE(after.wait_for(std::chrono::microseconds(0)));
  EXPECT_TRUE(says(failure_of([&] { stream->synchronize(); }), "CUDA error 700"));
  EXPECT_TRUE(says(failure_of([&] { other->synchronize(); }), "CUDA error 700")) << "the device is lost for all streams";
  EXPECT_TRUE(says(failure_of([&] {
                     kernel->launch(*other);
                     other->record();
                   }),
                   "CUDA error 700"));
  EXPECT_TRUE(says(failure_of([&] { backend->allocate(10, MemoryKind::workspace); }), "CUDA error 700"));
  // All that goes out of scope now gives back what the device does not take.
}

/// Gives a stream the same kernels again and again, which double a one five times. Each time, what comes of it.
std::vector<float> repeated_doublings(Backend& backend, int times) {
  const Tensor x = backend.allocate_tensor(DType::fp32, {10}, MemoryKind::workspace);
  const Tensor host = backend.allocate_host_tensor(DType::fp32, {10}, MemoryKind::staging);
  const auto doubling = backend.prepare(Sum{.inputs = {x, x}, .y = x});
  const auto stream = backend.make_stream("test");
  std::vector<float> results;
  for (int i = 0; i < times; ++i) {
    std::ranges::fill(host.span<float>(), 1.0F);
    stream->copy(x, host);
    for (int k = 0; k < 5; ++k) doubling->launch(*stream);
    stream->copy(host, x);
    stream->synchronize();
    results.push_back(host.span<float>()[0]);
  }
  return results;
}

TEST(CudaFaults, InACapture) {
  const auto automatic = make_cuda_backend({});
  EXPECT_EQ(repeated_doublings(*automatic, 4), std::vector<float>(4, 32.0F)) << "without graphs";
  const auto on = make_cuda_backend({.graphs = CudaGraphs::on});
  const std::string failure = failure_of([&] { repeated_doublings(*on, 4); });
  EXPECT_TRUE(says(failure, "5 kernels cannot be captured as a CUDA graph: ")) << failure;
  EXPECT_TRUE(says(failure, "cudaGraphInstantiate")) << failure;
}

TEST(CudaFaults, InALaunchOfAGraph) {
  const auto off = make_cuda_backend({.graphs = CudaGraphs::off});
  EXPECT_EQ(repeated_doublings(*off, 4), std::vector<float>(4, 32.0F)) << "launches none";
  const auto automatic = make_cuda_backend({});
  EXPECT_EQ(repeated_doublings(*automatic, 1), std::vector<float>(1, 32.0F)) << "launches none the first time";
  const std::string failure = failure_of([&] { repeated_doublings(*automatic, 2); });
  EXPECT_TRUE(says(failure, "cudaGraphLaunch")) << failure;
}

TEST(CudaFaults, InAnAllocation) {
  const auto backend = make_cuda_backend({});
  const Buffer held = backend->allocate(1000, MemoryKind::weights);
  const std::string failure = failure_of([&] { backend->allocate(2000, MemoryKind::moments); });
  EXPECT_TRUE(says(failure, "CUDA device 0 has no 2000 bytes of memory for moments: ")) << failure;
  EXPECT_TRUE(says(failure, "1000 bytes are in use here")) << failure;
  EXPECT_EQ(backend->memory()->in_use_bytes(), 1000);
  backend->allocate(2000, MemoryKind::moments);
}

TEST(CudaFaults, InAnAllocationOfTheHost) {
  const auto backend = make_cuda_backend({});
  EXPECT_EQ(failure_of([&] { backend->allocate_host(2000, MemoryKind::staging); }),
            "the host has no 2000 bytes of page-locked memory for staging");
  backend->allocate_host(2000, MemoryKind::staging);
}

TEST(CudaFaults, OfADeviceThatIsTooOld) {
  const std::string failure = failure_of([] { make_cuda_backend({}); });
  EXPECT_TRUE(says(failure, "has compute capability 7.0, minim wants 7.5 or later")) << failure;
  EXPECT_EQ(failure_of([] { cuda_device_info(0); }), failure);
}

}  // namespace
}  // namespace minim::gpu

#include "cuda/cuda_device.h"

#include <fmt/format.h>

#include "cuda/check.h"
#include "cuda/cuda_time.h"
#include "minim/runtime/error.h"

namespace minim::cuda {
namespace {

constexpr int kOldestCapability = 75;

std::string identity_of(const cudaUUID_t& uuid) {
  std::string text = "GPU-";
  for (const char byte : uuid.bytes) text += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return text;
}

CudaDeviceInfo inquire(int device) {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  return {.name = properties.name,
          .identity = identity_of(properties.uuid),
          .capability = 10 * properties.major + properties.minor,
          .memory_bytes = static_cast<std::int64_t>(properties.totalGlobalMem)};
}

}  // namespace

CudaDevice::CudaDevice(int index) : index_(index) {
  int devices = 0;
  check(cudaGetDeviceCount(&devices), "cudaGetDeviceCount");
  if (index < 0 || index >= devices) {
    throw DeviceError(fmt::format("CUDA device {}: this process sees {} of them, numbered from 0", index, devices));
  }
  info_ = inquire(index);
  if (info_.capability < kOldestCapability) {
    throw DeviceError(fmt::format("CUDA device {} ({}) has compute capability {}.{}, minim wants {}.{} or later", index,
                                  info_.name, info_.capability / 10, info_.capability % 10, kOldestCapability / 10,
                                  kOldestCapability % 10));
  }
}

CudaDevice::~CudaDevice() { release_deferred(); }

std::int64_t CudaDevice::free_bytes() const {
  const DeviceScope scope(*this);
  std::size_t free_bytes = 0, total_bytes = 0;
  check(cudaMemGetInfo(&free_bytes, &total_bytes), "cudaMemGetInfo");
  return static_cast<std::int64_t>(free_bytes);
}

void CudaDevice::fail(std::uint64_t number, std::exception_ptr failure) {
  const std::scoped_lock lock(mutex_);
  if (failure_ && failed_number_ <= number) return;
  failed_number_ = number;
  failure_ = std::move(failure);
}

std::exception_ptr CudaDevice::failure_before(std::uint64_t number) const {
  const std::scoped_lock lock(mutex_);
  return failed_number_ < number ? failure_ : nullptr;
}

std::shared_ptr<CudaClock> CudaDevice::clock() {
  const std::scoped_lock lock(mutex_);
  auto clock = clock_.lock();
  if (!clock) clock_ = clock = std::make_shared<CudaClock>();
  return clock;
}

void CudaDevice::release(void* memory, bool on_host) noexcept {
  const cudaError_t status = on_host ? cudaFreeHost(memory) : cudaFree(memory);
  if (status == cudaSuccess) return;
  cudaGetLastError();
  if (status != cudaErrorNotPermitted) return;  // the device is lost, and its memory with it
  const std::scoped_lock lock(mutex_);
  deferred_.push_back({memory, on_host});
}

void CudaDevice::release_deferred() noexcept {
  std::vector<Deferred> deferred;
  {
    const std::scoped_lock lock(mutex_);
    deferred.swap(deferred_);
  }
  for (const Deferred& piece : deferred) release(piece.memory, piece.on_host);
}

DeviceScope::DeviceScope(const CudaDevice& device) {
  int current = -1;
  check(cudaGetDevice(&current), "cudaGetDevice");
  if (current == device.index()) return;
  check(cudaSetDevice(device.index()), "cudaSetDevice");
  previous_ = current;
}

DeviceScope::~DeviceScope() {
  if (previous_ >= 0) cudaSetDevice(previous_);
}

}  // namespace minim::cuda

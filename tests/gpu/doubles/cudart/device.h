#pragma once

#include <driver_types.h>

#include <atomic>
#include <string>

namespace cudart {

/// A device that the program sees.
class Device {
 public:
  Device(int index, int number) : index_(index), number_(number) {}

  int index() const { return index_; }    ///< as the program counts
  int number() const { return number_; }  ///< as the machine counts, without CUDA_VISIBLE_DEVICES
  std::string pci_bus_id() const;

  /// From here on the device runs nothing more, and every call returns `code`. The first code stays.
  void lose(cudaError_t code);
  /// cudaSuccess while the device is well.
  cudaError_t lost() const { return lost_; }

  void allow_peer(int other) { peers_ |= 1U << other; }
  bool allows_peer(int other) const { return (peers_ >> other & 1U) != 0; }

 private:
  int index_;
  int number_;
  std::atomic<cudaError_t> lost_ = cudaSuccess;
  std::atomic<unsigned> peers_ = 0;
};

int device_count();
/// `index` is in range.
Device& device(int index);
Device& current_device();
void set_current_device(int index);

/// What cudaGetDeviceProperties and cudaDeviceGetAttribute say of a device: it resembles an H100.
cudaDeviceProp properties(const Device& device);
/// Refuses an attribute that the double does not know.
int attribute(cudaDeviceAttr which, const Device& device);

}  // namespace cudart

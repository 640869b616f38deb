#include "cudart/device.h"

#include <cstdio>
#include <deque>

#include "cudart/settings.h"

namespace cudart {
namespace {

thread_local int t_current = 0;

std::deque<Device>& devices() {
  static std::deque<Device>& devices = *[] {
    auto* made = new std::deque<Device>;  // outlives every thread
    for (const int number : settings().devices) made->emplace_back(static_cast<int>(made->size()), number);
    return made;
  }();
  return devices;
}

}  // namespace

std::string Device::pci_bus_id() const {
  char id[32];
  std::snprintf(id, sizeof id, "0000:%02X:00.0", static_cast<unsigned>(number_ + 1) & 0xFFU);
  return id;
}

void Device::lose(cudaError_t code) {
  cudaError_t well = cudaSuccess;
  lost_.compare_exchange_strong(well, code);
}

int device_count() { return static_cast<int>(devices().size()); }
Device& device(int index) { return devices()[static_cast<std::size_t>(index)]; }
Device& current_device() { return device(t_current); }
void set_current_device(int index) { t_current = index; }

}  // namespace cudart

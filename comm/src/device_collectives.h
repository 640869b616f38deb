#pragma once

#include <optional>
#include <string_view>

#include "collective.h"

namespace minim::detail {

/// Moves the data of a group's collectives where the tensors lie in a device's memory. The group sees to everything else: all
/// ranks have agreed on a collective and have come to it before it is started.
class DeviceCollectives {
 public:
  virtual ~DeviceCollectives() = default;

  virtual std::string_view name() const = 0;  ///< "nccl"
  /// Whether the address lies in memory of a device.
  virtual bool is_device_memory(const void* address) const = 0;
  /// Enqueues a collective. The one before is done.
  virtual void start(const Request& request) = 0;
  /// Polls whether the collective that was started last is done. Throws CommError, and DeviceError when the device has failed.
  virtual bool done() = 0;
  /// Happens, on the device, with the end of the collective that was started last; no value as long as `done` has not enqueued
  /// all of it.
  virtual std::optional<Event> finished() const = 0;
  /// Memory that collectives reach fastest. All ranks ask for it at the same time and for the same size.
  virtual Buffer allocate(std::int64_t size_bytes, MemoryKind kind) = 0;
  /// Ends what is under way, after a failure. Nothing is started afterwards.
  virtual void abort() noexcept = 0;
};

/// `co_await Finished(device)` waits until the collective that was started last is done.
class Finished final : public Until {
 public:
  explicit Finished(DeviceCollectives& device) : device_(device) {}
  bool ready() override { return device_.done(); }

 private:
  DeviceCollectives& device_;
};

}  // namespace minim::detail

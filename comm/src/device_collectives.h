#pragma once

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
  /// Whether the device can wait for the event without the host.
  virtual bool can_wait_for(const Event& event) const = 0;
  /// Begins to enqueue a collective behind its `after`. All of the one before is enqueued.
  virtual void start(const Request& request) = 0;
  /// Polls whether all of the collective that was started last is enqueued. Throws CommError, and DeviceError when the device has
  /// failed.
  virtual bool enqueued() = 0;
  /// Polls whether nothing is known to be wrong. What has ended without that has not ended well. Throws as `enqueued`.
  virtual bool is_sound() = 0;
  /// Happens with the end of the collective that was started last, all of which is enqueued.
  virtual Event finished() const = 0;
  /// Memory that collectives reach fastest. All ranks ask for it at the same time and for the same size.
  virtual Buffer allocate(std::int64_t size_bytes, MemoryKind kind) = 0;
  /// Ends what is under way, after a failure. Nothing is started afterwards.
  virtual void abort() noexcept = 0;
};

/// `co_await Enqueued(device)` waits until all of the collective that was started last is enqueued.
class Enqueued final : public Until {
 public:
  explicit Enqueued(DeviceCollectives& device) : device_(device) {}
  bool ready() override { return device_.enqueued(); }

 private:
  DeviceCollectives& device_;
};

}  // namespace minim::detail

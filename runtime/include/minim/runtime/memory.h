#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

namespace minim {

/// What a piece of memory is for; every allocation states it, so that a plan's figures can be held against the allocator's.
enum class MemoryKind : std::uint8_t { weights, master_weights, moments, gradients, activations, workspace, state, input, staging };
inline constexpr int kMemoryKinds = 9;

/// "weights", "master weights", ...
std::string_view name(MemoryKind kind);

/// Bytes handed out and not yet returned, by kind. Thread-safe.
class MemoryAccount {
 public:
  void add(MemoryKind kind, std::int64_t size_bytes);
  void remove(MemoryKind kind, std::int64_t size_bytes);
  std::int64_t in_use_bytes(MemoryKind kind) const;
  std::int64_t in_use_bytes() const;  ///< of all kinds
  std::int64_t peak_bytes() const;    ///< largest in_use_bytes() so far

 private:
  std::array<std::atomic<std::int64_t>, kMemoryKinds> in_use_bytes_{};
  std::atomic<std::int64_t> total_bytes_{0};
  std::atomic<std::int64_t> peak_bytes_{0};
};

/// Owns one allocation and gives it back on destruction. Move-only.
class Buffer {
 public:
  Buffer() = default;
  /// Takes over `data`; `release` is called exactly once with it. Books `size_bytes` under `kind` for as long as it lives.
  Buffer(void* data, std::int64_t size_bytes, MemoryKind kind, std::shared_ptr<MemoryAccount> account,
         std::function<void(void*)> release);
  ~Buffer();
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  void* data() const { return data_; }
  std::int64_t size_bytes() const { return size_bytes_; }
  explicit operator bool() const { return data_ != nullptr; }

 private:
  void reset() noexcept;

  void* data_ = nullptr;
  std::int64_t size_bytes_ = 0;
  MemoryKind kind_ = MemoryKind::workspace;
  std::shared_ptr<MemoryAccount> account_;
  std::function<void(void*)> release_;
};

/// Every buffer and every tensor inside an arena or bucket starts on a multiple of this.
inline constexpr std::int64_t kAlignmentBytes = 64;

constexpr std::int64_t round_up(std::int64_t value, std::int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

}  // namespace minim

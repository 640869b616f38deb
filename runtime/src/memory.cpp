#include "minim/runtime/memory.h"

#include <utility>

namespace minim {

std::string_view name(MemoryKind kind) {
  switch (kind) {
    case MemoryKind::weights: return "weights";
    case MemoryKind::master_weights: return "master weights";
    case MemoryKind::moments: return "moments";
    case MemoryKind::gradients: return "gradients";
    case MemoryKind::activations: return "activations";
    case MemoryKind::workspace: return "workspace";
    case MemoryKind::state: return "state";
    case MemoryKind::input: return "input";
    case MemoryKind::staging: return "staging";
  }
  return "unknown kind of memory";
}

void MemoryAccount::add(MemoryKind kind, std::int64_t size_bytes) {
  in_use_bytes_[static_cast<std::size_t>(kind)] += size_bytes;
  const std::int64_t total_bytes = total_bytes_ += size_bytes;
  std::int64_t peak_bytes = peak_bytes_;
  while (peak_bytes < total_bytes && !peak_bytes_.compare_exchange_weak(peak_bytes, total_bytes)) {
  }
}

void MemoryAccount::remove(MemoryKind kind, std::int64_t size_bytes) {
  in_use_bytes_[static_cast<std::size_t>(kind)] -= size_bytes;
  total_bytes_ -= size_bytes;
}

std::int64_t MemoryAccount::in_use_bytes(MemoryKind kind) const { return in_use_bytes_[static_cast<std::size_t>(kind)]; }
std::int64_t MemoryAccount::in_use_bytes() const { return total_bytes_; }
std::int64_t MemoryAccount::peak_bytes() const { return peak_bytes_; }

Buffer::Buffer(void* data, std::int64_t size_bytes, MemoryKind kind, std::shared_ptr<MemoryAccount> account,
               std::function<void(void*)> release)
    : data_(data), size_bytes_(size_bytes), kind_(kind), account_(std::move(account)), release_(std::move(release)) {
  if (account_) account_->add(kind_, size_bytes_);
}

Buffer::~Buffer() { reset(); }

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_bytes_(std::exchange(other.size_bytes_, 0)),
      kind_(other.kind_),
      account_(std::exchange(other.account_, nullptr)),
      release_(std::exchange(other.release_, nullptr)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  if (this == &other) return *this;
  reset();
  data_ = std::exchange(other.data_, nullptr);
  size_bytes_ = std::exchange(other.size_bytes_, 0);
  kind_ = other.kind_;
  account_ = std::exchange(other.account_, nullptr);
  release_ = std::exchange(other.release_, nullptr);
  return *this;
}

void Buffer::reset() noexcept {
  if (release_) std::exchange(release_, nullptr)(data_);
  if (account_) std::exchange(account_, nullptr)->remove(kind_, size_bytes_);
  data_ = nullptr;
  size_bytes_ = 0;
}

}  // namespace minim

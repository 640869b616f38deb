#pragma once

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "data/bitmap.h"
#include "minim/runtime/memory.h"

namespace minim {

/// Images of a data set that have been decoded. What comes first stays: every image is wanted as often as the others, so that
/// there is none to make room for. Thread-safe.
class BitmapCache {
 public:
  /// For images 0 to `images` - 1, of at most so many bytes in all, which are booked as staging memory; `account` may be null.
  BitmapCache(std::int64_t images, std::int64_t most_bytes, std::shared_ptr<MemoryAccount> account)
      : most_bytes_(most_bytes), account_(std::move(account)), bitmaps_(static_cast<std::size_t>(images)) {}
  ~BitmapCache() {
    if (account_) account_->remove(MemoryKind::staging, size_bytes_);
  }
  BitmapCache(const BitmapCache&) = delete;
  BitmapCache& operator=(const BitmapCache&) = delete;

  /// Null where it is not there.
  std::shared_ptr<const Bitmap> find(std::int64_t index) const {
    const std::lock_guard lock(mutex_);
    return bitmaps_[static_cast<std::size_t>(index)];
  }
  /// Keeps an image where there is room.
  void add(std::int64_t index, const std::shared_ptr<const Bitmap>& bitmap) {
    const auto added_bytes = static_cast<std::int64_t>(bitmap->pixels.size());
    const std::lock_guard lock(mutex_);
    auto& place = bitmaps_[static_cast<std::size_t>(index)];
    if (place || size_bytes_ + added_bytes > most_bytes_) return;
    place = bitmap;
    size_bytes_ += added_bytes;
    if (account_) account_->add(MemoryKind::staging, added_bytes);
  }

 private:
  const std::int64_t most_bytes_;
  const std::shared_ptr<MemoryAccount> account_;
  mutable std::mutex mutex_;  ///< guards what follows
  std::int64_t size_bytes_ = 0;
  std::vector<std::shared_ptr<const Bitmap>> bitmaps_;
};

}  // namespace minim

#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <vector>

namespace cudart {

/// The objects that the program holds handles of: a handle is an object's address.
template <class T>
class Handles {
 public:
  static Handles& instance() {
    static Handles& handles = *new Handles;  // outlives every thread
    return handles;
  }

  /// Returns the handle.
  template <class Handle>
  Handle add(std::shared_ptr<T> object) {
    const std::scoped_lock lock(mutex_);
    T* address = object.get();
    objects_[address] = std::move(object);
    return reinterpret_cast<Handle>(address);
  }
  /// Null where nothing has that handle, or nothing has it any more.
  std::shared_ptr<T> find(const void* handle) const {
    const std::scoped_lock lock(mutex_);
    const auto found = objects_.find(handle);
    return found == objects_.end() ? nullptr : found->second;
  }
  std::shared_ptr<T> remove(const void* handle) {
    const std::scoped_lock lock(mutex_);
    const auto found = objects_.find(handle);
    if (found == objects_.end()) return nullptr;
    std::shared_ptr<T> object = std::move(found->second);
    objects_.erase(found);
    return object;
  }
  std::vector<std::shared_ptr<T>> all() const {
    const std::scoped_lock lock(mutex_);
    std::vector<std::shared_ptr<T>> all;
    for (const auto& [handle, object] : objects_) all.push_back(object);
    return all;
  }

 private:
  mutable std::mutex mutex_;
  std::map<const void*, std::shared_ptr<T>> objects_;
};

}  // namespace cudart

#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "minim/runtime/cuda.h"

namespace minim::cuda::cudnn {

/// Which of cuDNN's proposals was fastest for each problem, in a text file that outlives the process: "problem = choice" on each
/// line. What cannot be read is taken for not there, and what cannot be written is kept in memory. Thread-safe, also for
/// processes that have the same file: of choices that are made at the same time the last one stays.
class PlanCache {
 public:
  /// An empty path: no file.
  explicit PlanCache(std::filesystem::path file);

  /// Empty where there is none.
  std::string find(const std::string& problem) const;
  void keep(const std::string& problem, const std::string& choice);

 private:
  void read();
  void write() const;

  std::filesystem::path file_;
  mutable std::mutex mutex_;  // of what follows
  std::map<std::string, std::string> choices_;
};

/// The cache for devices of that kind with the versions of cuDNN, CUDA and driver that are here, one per process. Its file is in
/// the directory that MINIM_PLAN_CACHE names, else in minim/ of the user's caches; there is none where that is empty or cannot be
/// told.
std::shared_ptr<PlanCache> plan_cache_for(const CudaDeviceInfo& device);

}  // namespace minim::cuda::cudnn

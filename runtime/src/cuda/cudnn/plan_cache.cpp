#include "cuda/cudnn/plan_cache.h"

#include <cuda_runtime_api.h>
#include <cudnn.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <fstream>
#include <utility>

#include "cuda/check.h"

namespace minim::cuda::cudnn {
namespace {

using cuda::check;  // of what CUDA returns

constexpr std::string_view kEquals = " = ";

std::filesystem::path directory_of_caches() {
  if (const char* const own = std::getenv("MINIM_PLAN_CACHE")) return own;
  if (const char* const caches = std::getenv("XDG_CACHE_HOME"); caches != nullptr && *caches != '\0') {
    return std::filesystem::path(caches) / "minim";
  }
  const char* const home = std::getenv("HOME");
  return home == nullptr || *home == '\0' ? std::filesystem::path() : std::filesystem::path(home) / ".cache" / "minim";
}

std::string file_name(const CudaDeviceInfo& device) {
  int driver = 0;
  check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  std::string name = fmt::format("{}-sm{}-cudnn{}-cuda{}-driver{}.plans", device.name, device.capability, cudnnGetVersion(),
                                 CUDART_VERSION, driver);
  std::ranges::replace_if(
      name, [](unsigned char c) { return std::isalnum(c) == 0 && c != '-' && c != '.'; }, '-');
  return name;
}

}  // namespace

PlanCache::PlanCache(std::filesystem::path file) : file_(std::move(file)) {
  if (!file_.empty()) read();
}

std::string PlanCache::find(const std::string& problem) const {
  const std::scoped_lock lock(mutex_);
  const auto found = choices_.find(problem);
  return found == choices_.end() ? std::string() : found->second;
}

void PlanCache::keep(const std::string& problem, const std::string& choice) {
  const std::scoped_lock lock(mutex_);
  if (!file_.empty()) read();  // others may have added to it
  choices_[problem] = choice;
  if (!file_.empty()) write();
}

void PlanCache::read() {
  std::ifstream in(file_);
  for (std::string line; std::getline(in, line);) {
    const auto at = line.find(kEquals);
    if (at != std::string::npos) choices_[line.substr(0, at)] = line.substr(at + kEquals.size());
  }
}

void PlanCache::write() const {
  std::error_code ignored;
  std::filesystem::create_directories(file_.parent_path(), ignored);
  char host[256] = {};
  gethostname(host, sizeof host - 1);
  const std::filesystem::path partial = fmt::format("{}.{}.{}", file_.string(), host, getpid());
  std::ofstream out(partial, std::ios::trunc);
  for (const auto& [problem, choice] : choices_) out << problem << kEquals << choice << '\n';
  out.close();
  if (out) std::filesystem::rename(partial, file_, ignored);
  if (!out || ignored) std::filesystem::remove(partial, ignored);
}

std::shared_ptr<PlanCache> plan_cache_for(const CudaDeviceInfo& device) {
  static std::mutex mutex;
  static std::map<std::string, std::shared_ptr<PlanCache>> caches;
  const std::string name = file_name(device);
  const std::scoped_lock lock(mutex);
  auto& cache = caches[name];
  if (!cache) {
    const std::filesystem::path directory = directory_of_caches();
    cache = std::make_shared<PlanCache>(directory.empty() ? directory : directory / name);
  }
  return cache;
}

}  // namespace minim::cuda::cudnn

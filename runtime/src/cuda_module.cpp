#include <dlfcn.h>
#include <fmt/format.h>
#include <link.h>

#include <cstdlib>
#include <filesystem>

#include "kernel_sets.h"
#include "minim/runtime/cuda.h"
#include "planning_backend.h"

namespace minim {
namespace {

constexpr const char* kModuleName = "libminim_cuda.so";

/// The program or the shared library that this code is part of.
std::filesystem::path own_file() {
  Dl_info info{};
  link_map* map = nullptr;
  void* const here = reinterpret_cast<void*>(&own_file);
  if (dladdr1(here, &info, reinterpret_cast<void**>(&map), RTLD_DL_LINKMAP) != 0 && map != nullptr && *map->l_name != '\0') {
    return map->l_name;
  }
  std::error_code error;  // the program itself has no name here
  return std::filesystem::read_symlink("/proc/self/exe", error);
}

/// What the environment names, which may be nothing.
std::string named_module() {
  const char* named = std::getenv("MINIM_CUDA_MODULE");
  return named != nullptr ? named : "";
}

/// Beside the program or library, or, where a program is installed, among its libraries.
std::filesystem::path module_file() {
  const std::string named = named_module();
  if (!named.empty()) return std::filesystem::absolute(named);
  const std::filesystem::path directory = own_file().parent_path();
  const std::filesystem::path installed = (directory / ".." / MINIM_LIBRARY_DIRECTORY / kModuleName).lexically_normal();
  std::error_code error;
  return std::filesystem::exists(installed, error) ? installed : directory / kModuleName;
}

/// The module's handle. Loading it again costs a look-up; it stays loaded for good.
void* load_module(const std::filesystem::path& file) {
  if (!has_cuda_module()) {
    throw DeviceError(named_module().empty()
                          ? fmt::format("there is no CUDA module {}: this minim was built without CUDA", file.string())
                          : fmt::format("there is no CUDA module {}, which MINIM_CUDA_MODULE names", file.string()));
  }
  void* module = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (module == nullptr) throw DeviceError(fmt::format("the CUDA module cannot be loaded: {}", dlerror()));
  return module;
}

}  // namespace

CudaGraphs parse_cuda_graphs(std::string_view text) {
  if (text == "off") return CudaGraphs::off;
  if (text == "auto") return CudaGraphs::automatic;
  if (text == "on") return CudaGraphs::on;
  throw InvalidArgument(fmt::format("CUDA graphs \"{}\" are none of off, auto, on", text));
}

bool has_cuda_module() {
  std::error_code error;
  return std::filesystem::exists(module_file(), error);
}

int cuda_device_count(std::string& reason) {
  using Count = int (*)(std::string&);
  try {
    return reinterpret_cast<Count>(cuda_module_symbol("minim_cuda_device_count"))(reason);
  } catch (const DeviceError& error) {
    reason = error.what();
    return 0;
  }
}

CudaDeviceInfo cuda_device_info(int device) {
  using Inquire = void (*)(int, CudaDeviceInfo&);
  CudaDeviceInfo info;
  reinterpret_cast<Inquire>(cuda_module_symbol("minim_cuda_device_info"))(device, info);
  return info;
}

std::unique_ptr<Backend> make_cuda_backend(const CudaOptions& options) {
  using Make = Backend* (*)(const CudaOptions&);
  return std::unique_ptr<Backend>(reinterpret_cast<Make>(cuda_module_symbol("minim_make_cuda_backend"))(options));
}

bool has_cuda_driver() { return dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL) != nullptr; }

std::unique_ptr<Backend> make_cuda_planning_backend(const GpuModel& model) {
  using Make = Backend* (*)(const GpuModel&);
  return std::unique_ptr<Backend>(reinterpret_cast<Make>(cuda_module_symbol("minim_make_cuda_planning_backend"))(model));
}

std::unique_ptr<Backend> make_planning_backend_without_cuda() {
  auto backend = std::make_unique<PlanningBackend>();
  add_reference_kernels(*backend);
  return backend;
}

void* cuda_module_symbol(const char* name) {
  const std::filesystem::path file = module_file();
  void* symbol = dlsym(load_module(file), name);
  if (symbol == nullptr) {
    throw DeviceError(fmt::format("the CUDA module {} has no {}: it belongs to another version of minim", file.string(), name));
  }
  return symbol;
}

}  // namespace minim

// Put in front of cuDNN, whose own library checks descriptors and makes plans, for a device that is not there. What this double
// replaces is the device's part: handles, and the execution of plans. MINIM_DOUBLE_PROPOSALS makes one proposal fast and
// another one wrong, see tests/gpu/README.md.
#include <cuda_runtime_api.h>
#include <cudnn.h>
#include <dlfcn.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include "cudnn/device_properties.h"
#include "cudnn/interpreter.h"
#include "cudnn/record.h"
#include "kernel_work.h"

struct cudnnContext {
  cudaStream_t stream = nullptr;
};

namespace cudnn_double {
namespace {

/// The function of that name in cuDNN's own library.
template <auto* kFunction>
auto real(const char* name) {
  static void* const library = dlopen(("libcudnn.so." + std::to_string(CUDNN_MAJOR)).c_str(), RTLD_NOW | RTLD_LOCAL);
  void* const found = library == nullptr ? nullptr : dlsym(library, name);
  if (found == nullptr) double_refuse((std::string("there is no ") + name + " behind the double of cuDNN").c_str());
  return reinterpret_cast<decltype(kFunction)>(found);
}

struct Proposals {
  std::int64_t fast = -1, wrong = -1;  ///< -1: none
};

const Proposals& asked_proposals() {
  static const Proposals asked = [] {
    Proposals proposals;
    const char* const text = std::getenv("MINIM_DOUBLE_PROPOSALS");
    if (text != nullptr && std::sscanf(text, "fast:%ld,wrong:%ld", &proposals.fast, &proposals.wrong) < 1) {
      double_refuse("MINIM_DOUBLE_PROPOSALS is not fast:NUMBER[,wrong:NUMBER]");
    }
    return proposals;
  }();
  return asked;
}

/// The number of a proposal, which `place` is that of in cuDNN's list.
std::int64_t number_of_proposal(std::int64_t place) {
  static std::mutex& mutex = *new std::mutex;
  static auto& numbers = *new std::map<std::int64_t, std::int64_t>;
  const std::scoped_lock lock(mutex);
  return numbers.emplace(place, static_cast<std::int64_t>(numbers.size())).first->second;
}

struct Handles {
  std::mutex mutex;
  std::set<cudnnHandle_t> all;
};

Handles& handles() {
  static Handles& all = *new Handles;  // outlives every thread
  return all;
}

cudnnContext& find(const char* function, cudnnHandle_t handle) {
  const std::scoped_lock lock(handles().mutex);
  if (!handles().all.contains(handle)) {
    double_refuse((std::string(function) + " is given a handle that cudnnCreate has not made, or that is destroyed").c_str());
  }
  return *handle;
}

/// The plan's scratch. Refuses one that the program has not provided.
void* workspace_of(const Record& memory, std::int64_t size_bytes) {
  if (size_bytes == 0) return nullptr;
  void* const workspace = memory.value<void*>(CUDNN_ATTR_VARIANT_PACK_WORKSPACE);
  doubles::check_on_device("cudnnBackendExecute", {workspace, minim::DType::uint8, {size_bytes}});
  return workspace;
}

Addresses addresses_in(const Record& memory) {
  const auto ids = memory.list<std::int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
  const auto data = memory.list<void*>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
  if (ids.size() != data.size()) double_refuse("cudnnBackendExecute is given a variant pack with more or less ids than pointers");
  Addresses addresses;
  for (std::size_t i = 0; i < ids.size(); ++i) addresses[ids[i]] = data[i];
  return addresses;
}

}  // namespace
}  // namespace cudnn_double

using namespace cudnn_double;

cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  const doubles::Hidden hidden;
  const std::scoped_lock lock(handles().mutex);
  *handle = new cudnnContext;
  handles().all.insert(*handle);
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
  const doubles::Hidden hidden;
  find("cudnnDestroy", handle);
  const std::scoped_lock lock(handles().mutex);
  handles().all.erase(handle);
  delete handle;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  const doubles::Hidden hidden;
  find("cudnnSetStream", handle).stream = stream;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t* descriptor) {
  const doubles::Hidden hidden;
  const auto status = real<&cudnnBackendCreateDescriptor>("cudnnBackendCreateDescriptor")(type, descriptor);
  if (status == CUDNN_STATUS_SUCCESS) note_created(*descriptor, type);
  return status;
}

cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor) {
  const doubles::Hidden hidden;
  note_destroyed(descriptor);
  return real<&cudnnBackendDestroyDescriptor>("cudnnBackendDestroyDescriptor")(descriptor);
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, std::int64_t count, const void* values) {
  const doubles::Hidden hidden;
  const auto set = real<&cudnnBackendSetAttribute>("cudnnBackendSetAttribute");
  if (name == CUDNN_ATTR_DEVICEPROP_DEVICE_ID) {
    const std::string json = device_properties(*static_cast<const std::int32_t*>(values));
    return set(descriptor, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, static_cast<std::int64_t>(json.size()),
               json.data());
  }
  const auto status = set(descriptor, name, type, count, values);
  if (status == CUDNN_STATUS_SUCCESS) note_set(descriptor, name, type, count, values);
  return status;
}

cudnnStatus_t cudnnBackendGetAttribute(const cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, std::int64_t wanted, std::int64_t* count, void* values) {
  const doubles::Hidden hidden;
  const auto status = real<&cudnnBackendGetAttribute>("cudnnBackendGetAttribute")(descriptor, name, type, wanted, count, values);
  if (status == CUDNN_STATUS_SUCCESS && name == CUDNN_ATTR_ENGINEHEUR_RESULTS && values != nullptr) {
    note_proposals(descriptor, *count, static_cast<const cudnnBackendDescriptor_t*>(values));
  }
  return status;
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan, cudnnBackendDescriptor_t memory) {
  const doubles::Hidden hidden;
  const cudnnContext& context = find("cudnnBackendExecute", handle);
  std::int64_t workspace_bytes = 0, count = 0;
  const auto status = real<&cudnnBackendGetAttribute>("cudnnBackendGetAttribute")(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                                                                                  CUDNN_TYPE_INT64, 1, &count, &workspace_bytes);
  if (status != CUDNN_STATUS_SUCCESS) return status;
  const Shared told = record_of(plan);
  const Shared graph = told->graph;
  if (!graph) double_refuse("cudnnBackendExecute is given a plan that does not come from cuDNN's heuristics");
  const Shared pack = record_of(memory);
  doubles::enqueue(context.stream, "a plan of cuDNN",
                   [work = work_of(*graph, addresses_in(*pack)), workspace = workspace_of(*pack, workspace_bytes),
                    size_bytes = static_cast<std::size_t>(workspace_bytes), proposal = number_of_proposal(told->proposal)] {
                     doubles::spoil(workspace, size_bytes);
                     const Proposals& asked = asked_proposals();
                     if (proposal != asked.wrong) work();
                     if (asked.fast >= 0 && proposal != asked.fast) std::this_thread::sleep_for(std::chrono::milliseconds(5));
                   });
  return CUDNN_STATUS_SUCCESS;
}

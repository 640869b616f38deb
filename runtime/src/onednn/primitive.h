#pragma once

#include <cstdint>
#include <dnnl.hpp>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "minim/runtime/dtype.h"
#include "minim/runtime/error.h"

namespace minim::onednn {

/// The one CPU engine of the process.
const dnnl::engine& engine();

/// Whether the machine has instructions for products of bfloat16; elsewhere oneDNN emulates them, slower than FP32.
bool multiplies_bf16();

/// What oneDNN computes in for tensors stored as `storage`: bfloat16 where the machine can, otherwise FP32.
DType compute_dtype(DType storage);

dnnl::memory::data_type data_type(DType dtype);

/// Attributes of every primitive: its scratch is ours.
dnnl::primitive_attr user_scratchpad();

/// While it lives, the calling thread has `threads` OpenMP threads. oneDNN makes a primitive for the number that it finds.
class ThreadScope {
 public:
  explicit ThreadScope(int threads);
  ~ThreadScope();
  ThreadScope(const ThreadScope&) = delete;
  ThreadScope& operator=(const ThreadScope&) = delete;

 private:
  int before_;
};

/// A primitive and the memory that it works on. The layouts are fixed; where the data is may change before every run.
class BoundPrimitive {
 public:
  BoundPrimitive() = default;
  /// `arguments`: the DNNL_ARG_* that runs will name. The scratchpad is added where there is one.
  BoundPrimitive(const dnnl::primitive_desc_base& description, std::initializer_list<int> arguments);

  void point(int argument, const void* data);
  /// Computes in the calling thread and its OpenMP threads. Throws DeviceError.
  void run() const;

 private:
  dnnl::primitive primitive_;
  dnnl::stream stream_;
  std::vector<dnnl::memory> memories_;
  std::vector<dnnl_exec_arg_t> arguments_;
};

/// Layout of one argument of a primitive.
dnnl::memory::desc layout(const dnnl::primitive_desc_base& description, int argument);
/// Scratch that a run needs; 0 for a null description.
std::int64_t scratchpad_bytes(const dnnl::primitive_desc_base& description);

/// Calls `make`; what oneDNN throws becomes a DeviceError that names `what`.
template <class Make>
decltype(auto) translate_errors(std::string_view what, Make&& make) {
  try {
    return make();
  } catch (const dnnl::error& failure) {
    throw DeviceError("oneDNN refused " + std::string(what) + ": " + failure.what());
  }
}

}  // namespace minim::onednn

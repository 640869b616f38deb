#include "onednn/primitive.h"

#include <omp.h>

#include <cstddef>

namespace minim::onednn {

const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

bool multiplies_bf16() {
  const auto isa = dnnl::get_effective_cpu_isa();
  return isa == dnnl::cpu_isa::avx512_core_bf16 || isa == dnnl::cpu_isa::avx512_core_amx;
}

DType compute_dtype(DType storage) { return storage == DType::bf16 && multiplies_bf16() ? DType::bf16 : DType::fp32; }

dnnl::memory::data_type data_type(DType dtype) {
  switch (dtype) {
    case DType::fp32: return dnnl::memory::data_type::f32;
    case DType::bf16: return dnnl::memory::data_type::bf16;
    default: throw InvalidArgument("oneDNN computes in fp32 and bf16 only");
  }
}

dnnl::primitive_attr user_scratchpad() {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attributes;
}

ThreadScope::ThreadScope(int threads) : before_(omp_get_max_threads()) { omp_set_num_threads(threads); }
ThreadScope::~ThreadScope() { omp_set_num_threads(before_); }

BoundPrimitive::BoundPrimitive(const dnnl::primitive_desc_base& description, std::initializer_list<int> arguments)
    : primitive_(description.get()), stream_(engine()) {
  const auto bind = [&](int argument) {
    memories_.push_back(dnnl::memory(layout(description, argument), engine(), DNNL_MEMORY_NONE));
    arguments_.push_back({argument, memories_.back().get()});
  };
  for (const int argument : arguments) bind(argument);
  if (scratchpad_bytes(description) > 0) bind(DNNL_ARG_SCRATCHPAD);
}

void BoundPrimitive::point(int argument, const void* data) {
  for (std::size_t i = 0; i < arguments_.size(); ++i) {
    // oneDNN's handles are not const, its inputs are.
    if (arguments_[i].arg == argument) memories_[i].set_data_handle(const_cast<void*>(data));
  }
}

void BoundPrimitive::run() const {
  // The C call: dnnl::primitive::execute() would build a map and a vector each time.
  const auto status =
      dnnl_primitive_execute(primitive_.get(), stream_.get(), static_cast<int>(arguments_.size()), arguments_.data());
  if (status != dnnl_success) throw DeviceError("oneDNN failed to run a primitive: status " + std::to_string(status));
}

dnnl::memory::desc layout(const dnnl::primitive_desc_base& description, int argument) {
  return description.query_md(dnnl::query::exec_arg_md, argument);
}

std::int64_t scratchpad_bytes(const dnnl::primitive_desc_base& description) {
  if (!description) return 0;
  return static_cast<std::int64_t>(description.query_md(dnnl::query::scratchpad_md).get_size());
}

}  // namespace minim::onednn

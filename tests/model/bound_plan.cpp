#include "model/bound_plan.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "kernel_sets.h"
#include "minim/runtime/philox.h"

namespace minim::test {

namespace {

constexpr int kNanByte = 0xFF;  // NaN as fp32, fp16 and bf16; -1 as integers

template <class F>
void with_elements(const ConstTensorView& view, F f) {
  auto* data = const_cast<void*>(view.raw());
  switch (view.dtype()) {
    case DType::int32: return f(static_cast<std::int32_t*>(data));
    case DType::int64: return f(static_cast<std::int64_t*>(data));
    case DType::uint8: return f(static_cast<std::uint8_t*>(data));
    default: dispatch_floating(view.dtype(), [&]<class T>(T) { f(static_cast<T*>(data)); });
  }
}

Tensor like(Backend& backend, const Parameter& p, Precision precision, MemoryKind kind) {
  return backend.allocate_tensor(p.keep_fp32 ? DType::fp32 : compute_dtype(precision), physical_shape(p.shape, p.layout), kind);
}

}  // namespace

std::vector<float> floats(const ConstTensorView& view) {
  std::vector<float> values(static_cast<std::size_t>(view.elements()));
  with_elements(view, [&]<class T>(const T* data) {
    std::transform(data, data + values.size(), values.begin(), [](T value) {
      if constexpr (std::is_integral_v<T>) {
        return static_cast<float>(value);
      } else {
        return to_float(value);
      }
    });
  });
  return values;
}

void assign(const TensorView& view, std::span<const float> values) {
  if (static_cast<std::int64_t>(values.size()) != view.elements())
    throw std::logic_error("a test assigns the wrong number of values");
  with_elements(view, [&]<class T>(T* data) {
    std::ranges::transform(values, data, [](float value) {
      if constexpr (std::is_integral_v<T>) {
        return static_cast<T>(value);
      } else {
        return round_to<T>(value);
      }
    });
  });
}

std::vector<float> numbers(std::int64_t count, std::uint32_t seed) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto bits = philox({static_cast<std::uint32_t>(i), 0, 0, 0}, {seed, 0})[0];
    values.push_back(std::floor(uniform(bits) * 256 - 128) / 128);
  }
  return values;
}

PoisonedBackend::PoisonedBackend() { add_reference_kernels(*this); }

Buffer PoisonedBackend::allocate(std::int64_t size_bytes, MemoryKind kind) {
  void* data = std::aligned_alloc(static_cast<std::size_t>(kAlignmentBytes),
                                  static_cast<std::size_t>(round_up(std::max<std::int64_t>(size_bytes, 1), kAlignmentBytes)));
  std::memset(data, kNanByte, static_cast<std::size_t>(size_bytes));
  blocks_.push_back({data, size_bytes, kind});
  return {data, size_bytes, kind, memory(), [](void* memory) { std::free(memory); }};
}

void PoisonedBackend::copy(TensorView to, ConstTensorView from) {
  std::memcpy(to.raw(), from.raw(), static_cast<std::size_t>(from.size_bytes()));
}

void PoisonedBackend::poison(MemoryKind kind) {
  for (const Block& block : blocks_) {
    if (block.kind == kind) std::memset(block.data, kNanByte, static_cast<std::size_t>(block.size_bytes));
  }
}

ParameterMemory::ParameterMemory(Model& model, Backend& backend, Precision precision, std::uint64_t seed)
    : loss_scale_(backend.allocate_tensor(DType::fp32, Shape{1}, MemoryKind::state)) {
  set_loss_scale(1);
  place_states(model, backend);
  for (const auto& p : model.parameters()) {
    const Tensor& weight = tensors_.emplace_back(like(backend, *p, precision, MemoryKind::weights));
    p->weight = weight;
    std::vector<float> logical(static_cast<std::size_t>(p->shape.elements())), physical(logical.size());
    initialize(p->initializer, seed, p->name, 0, logical);
    to_physical(p->shape, p->layout, logical, physical);
    assign(p->weight, physical);
    p->gradient = tensors_.emplace_back(like(backend, *p, precision, MemoryKind::gradients));
  }
}

BoundPlan::BoundPlan(const Graph& graph, Backend& backend, const ParameterMemory& memory, const CompileOptions& options,
                     const Plan* arena_owner)
    : stream_(backend.make_stream("test")), plan_(Plan::compile(graph, backend, options)) {
  plan_->bind(memory.loss_scale(), arena_owner);
}

void BoundPlan::set_images(std::uint32_t seed, int classes) {
  const TensorView images = plan_->input("images"), labels = plan_->input("labels");
  assign(images, numbers(images.elements(), seed));
  std::vector<float> label, id;
  for (std::int64_t i = 0; i < labels.elements(); ++i) {
    label.push_back(static_cast<float>((i + seed) % classes));
    id.push_back(static_cast<float>(i));
  }
  assign(labels, label);
  set("valid_samples", std::vector{static_cast<float>(labels.elements())});
  if (plan_->has_input("sample_ids")) {
    set("sample_ids", id);
    set("attempted_step", std::vector{0.0F});
  }
}

void BoundPlan::forward(bool accumulate, PlanObserver* observer) {
  plan_->forward(*stream_, accumulate, observer);
  stream_->synchronize();
}

void BoundPlan::backward(bool accumulate, PlanObserver* observer) {
  plan_->backward(*stream_, accumulate, observer);
  stream_->synchronize();
}

std::vector<float> gradients(std::span<Parameter* const> parameters) {
  std::vector<float> all;
  for (const Parameter* p : parameters) {
    const std::vector<float> one = floats(p->gradient);
    all.insert(all.end(), one.begin(), one.end());
  }
  return all;
}

}  // namespace minim::test

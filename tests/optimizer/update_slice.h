#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <string_view>
#include <vector>

#include "minim/optimizer/step_state.h"
#include "minim/optimizer/update_rule.h"
#include "runtime/mirror.h"
#include "trust_kernels.h"

namespace minim::testing {

/// What a slice is made of.
struct SliceCase {
  UpdateRule rule = AdamRule{};
  DType weight_dtype = DType::fp16;
  DType gradient_dtype = DType::fp16;
  bool master = true;
};

/// All rules, with every type of weights and gradients that they are used with.
inline const SliceCase kSliceCases[] = {
    {SgdRule{.momentum = 0}, DType::fp16, DType::fp16, true},
    {SgdRule{.momentum = 0}, DType::fp32, DType::fp32, false},
    {SgdRule{.momentum = 0.9}, DType::fp16, DType::fp16, true},
    {SgdRule{.momentum = 0.9}, DType::fp16, DType::fp16, false},
    {SgdRule{.momentum = 0.9}, DType::bf16, DType::bf16, true},
    {SgdRule{.momentum = 0.9}, DType::fp16, DType::fp32, true},
    {AdamRule{}, DType::fp16, DType::fp16, true},
    {AdamRule{}, DType::fp16, DType::fp16, false},
    {AdamRule{}, DType::fp32, DType::fp32, false},
    {AdamRule{}, DType::bf16, DType::fp32, true},
    {AdamRule{.beta1 = 0.5, .epsilon = 1e-3}, DType::bf16, DType::bf16, true},
    {AdamRule{.decoupled_decay = true}, DType::fp16, DType::fp16, true},
    {SgdRule{.nesterov = true}, DType::fp16, DType::fp16, true},
    {SgdRule{.momentum = 0.5, .nesterov = true}, DType::fp32, DType::fp32, false},
    {AdagradRule{}, DType::fp16, DType::fp16, true},
    {AdagradRule{.initial = 0.1, .epsilon = 1e-7}, DType::fp32, DType::fp32, false},
    {RmsPropRule{}, DType::bf16, DType::fp32, true},
    {RmsPropRule{.alpha = 0.9}, DType::fp16, DType::fp16, false},
    {RmsPropRule{.momentum = 0.9}, DType::fp16, DType::fp16, true},
    {RmsPropRule{.alpha = 0.9, .epsilon = 1e-3, .momentum = 0.5}, DType::bf16, DType::bf16, true},
    {LarsRule{}, DType::fp16, DType::fp16, true},
    {LarsRule{.momentum = 0.5, .trust = 0.1}, DType::fp32, DType::fp32, false},
    {LambRule{}, DType::fp16, DType::fp16, true},
    {LambRule{.beta1 = 0.5, .epsilon = 1e-3}, DType::bf16, DType::fp32, true},
    {LambRule{}, DType::fp16, DType::fp16, false},
};

/// The arrays of a slice in the host's memory, and a backend's kernels on them.
class UpdateSlice {
 public:
  static constexpr int kWireExponent = 2;

  UpdateSlice(const SliceCase& what, std::int64_t elements, std::vector<UpdateSegment> segments, std::string_view set = "cpu")
      : UpdateSlice(what, elements, std::move(segments), set == "cpu" ? make_cpu_backend(1) : make_reference_backend()) {}

  UpdateSlice(const SliceCase& what, std::int64_t elements, const std::vector<UpdateSegment>& segments,
              std::shared_ptr<Backend> backend)
      : squares_first_(std::holds_alternative<AdagradRule>(what.rule) || std::holds_alternative<RmsPropRule>(what.rule)),
        backend_(std::move(backend)),
        stream_(backend_->make_stream("test")) {
    add_update_kernels(*backend_);
    add_trust_kernels(*backend_);
    const auto host = make_reference_backend();
    const auto tensor = [&](DType dtype, std::int64_t n) { return host->allocate_tensor(dtype, Shape{n}, MemoryKind::state); };
    gradient = tensor(what.gradient_dtype, elements);
    weight = tensor(what.weight_dtype, elements);
    master = tensor(DType::fp32, elements);
    moment1 = tensor(DType::fp32, elements);
    moment2 = tensor(DType::fp32, elements);
    state_ = tensor(DType::uint8, sizeof(StepState));
    record_ = tensor(DType::uint8, sizeof(AgreementRecord));
    overflow_ = tensor(DType::int32, 1);
    overflow() = kNoOverflow;
    state() = StepState{};
    state().last_applied = 1;
    state().applied = 3;
    state().learning_rate = 0.01F;
    for (float& unscale : state().unscale) unscale = 0x1p-10F;
    record() = AgreementRecord{};
    std::int64_t parameters = 1;
    for (const UpdateSegment& segment : segments) parameters = std::max<std::int64_t>(parameters, segment.parameter + 1);
    ratios_ = tensor(DType::fp32, parameters);
    for (std::int64_t p = 0; p < parameters; ++p) set(ratios_, p, ratio(static_cast<int>(p)));
    squares_ = tensor(DType::uint8, parameters * static_cast<std::int64_t>(sizeof(ParameterSquares)));
    std::ranges::fill(squares(), ParameterSquares{});
    const auto optional = [](bool present, const Tensor& t) { return present ? t.view() : TensorView(); };
    update_ = {.rule = what.rule,
               .segments = segments,
               .gradient = gradient,
               .wire_exponent = kWireExponent,
               .master = optional(what.master, master),
               .moment1 = optional(moments(what.rule) > 0, moment1),
               .moment2 = optional(moments(what.rule) > 1, moment2),
               .weight = weight,
               .state = state_,
               .ratios = optional(has_trust_ratios(what.rule), ratios_),
               .overflow = overflow_};
    measure_ = {.rule = what.rule,
                .segments = segments,
                .gradient = gradient,
                .wire_exponent = kWireExponent,
                .master = update_.master,
                .weight = weight,
                .moment1 = update_.moment1,
                .moment2 = update_.moment2,
                .state = state_,
                .squares = squares_};
    check_ = {.segments = segments, .gradient = gradient, .wire_exponent = kWireExponent, .state = state_, .record = record_};
  }

  StepState& state() const { return *static_cast<StepState*>(state_.view().raw()); }
  AgreementRecord& record() const { return *static_cast<AgreementRecord*>(record_.view().raw()); }
  std::span<ParameterSquares> squares() const {
    const auto count = static_cast<std::size_t>(squares_.view().size_bytes()) / sizeof(ParameterSquares);
    return {static_cast<ParameterSquares*>(squares_.view().raw()), count};
  }
  /// The trust ratio of a parameter.
  static float ratio(int parameter) { return 0.25F + 0.125F * static_cast<float>(parameter % 5); }
  std::int32_t& overflow() const { return *overflow_.span<std::int32_t>().data(); }

  /// Numbers of the sizes that training sees, of either sign but for moments of squares.
  void fill(std::uint32_t seed) const {
    const auto next = [&seed] {  // uniform in [-2, 2)
      seed = seed * 1664525U + 1013904223U;
      return static_cast<float>(seed >> 8U) * 0x1p-22F - 2.0F;
    };
    for (std::int64_t i = 0; i < gradient.elements(); ++i) {
      set(gradient, i, next() * 64.0F);
      const float w = next();
      set(weight, i, w);
      set(master, i, w);
      const float m1 = next() * 0.1F;
      set(moment1, i, squares_first_ ? std::abs(m1) : m1);
      set(moment2, i, std::abs(next()) * 0.01F);
    }
  }
  void apply() const { run_mirrored(*backend_, *stream_, update_); }
  void check() const { run_mirrored(*backend_, *stream_, check_); }
  void measure() const { run_mirrored(*backend_, *stream_, measure_); }

  static float get(const Tensor& tensor, std::int64_t i) {
    return dispatch_floating(tensor.dtype(),
                             [&](auto type) { return to_float(tensor.span<decltype(type)>()[static_cast<std::size_t>(i)]); });
  }
  static void set(const Tensor& tensor, std::int64_t i, float value) {
    dispatch_floating(tensor.dtype(), [&](auto type) {
      tensor.span<decltype(type)>()[static_cast<std::size_t>(i)] = round_to<decltype(type)>(value);
    });
  }
  std::vector<std::uint8_t> bytes() const {
    std::vector<std::uint8_t> all;
    for (const Tensor* tensor : {&weight, &master, &moment1, &moment2}) {
      const auto* data = static_cast<const std::uint8_t*>(tensor->view().raw());
      all.insert(all.end(), data, data + tensor->view().size_bytes());
    }
    return all;
  }

  Tensor gradient, weight, master, moment1, moment2;

 private:
  bool squares_first_;  // the first moments are of squares
  std::shared_ptr<Backend> backend_;
  std::unique_ptr<Stream> stream_;
  Tensor state_, record_, overflow_, ratios_, squares_;
  ApplyUpdate update_;
  CheckGradients check_;
  MeasureUpdate measure_;
};

/// Two parameters with padding between them, the first with decay and a group of its own.
inline std::vector<UpdateSegment> two_segments(std::int64_t elements) {
  const std::int64_t middle = std::min<std::int64_t>(elements, 64);
  return {{.begin = 0, .end = std::min<std::int64_t>(elements, 37), .parameter = 3, .group = 1, .weight_decay = 0.01F},
          {.begin = middle, .end = elements, .parameter = 4, .group = 0, .learning_rate_factor = 0.5F}};
}

}  // namespace minim::testing

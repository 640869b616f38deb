#include "onednn/convolution_operands.h"

#include <algorithm>
#include <cstring>

#include "cpu/parallel.h"
#include "minim/runtime/simd.h"
#include "onednn/rounding.h"

namespace minim::onednn {
namespace {

/// Elements [begin, begin + n) of `tensor`.
ConstTensorView piece(const ConstTensorView& tensor, std::int64_t begin, std::int64_t n) {
  return {static_cast<const std::byte*>(tensor.raw()) + begin * size_bytes(tensor.dtype()), tensor.dtype(), Shape{n}};
}

/// `n` floats in `region`; none when it is empty.
std::span<float> floats(const Region& region, TensorView workspace) {
  return {region.in<float>(workspace), static_cast<std::size_t>(region.size_bytes) / sizeof(float)};
}

void add_parallel(std::span<const float> from, std::span<float> to) {
  cpu::parallel_for(static_cast<std::int64_t>(to.size()), cpu::kElementsPerThread, [&](std::int64_t begin, std::int64_t end) {
    simd::add(from.data() + begin, to.data() + begin, end - begin);
  });
}

BoundPrimitive bind_repacking(const ConvolutionPlan& plan, TensorView workspace) {
  if (!plan.repacking) return {};
  BoundPrimitive repacking(plan.repacking, {DNNL_ARG_FROM, DNNL_ARG_TO});
  repacking.point(DNNL_ARG_SCRATCHPAD, plan.scratchpad.in(workspace));
  return repacking;
}

}  // namespace

ImageReader::ImageReader(ConstTensorView images, const ConvolutionPlan& plan, float* scratch)
    : images_(images), chunk_elements_(plan.chunk_samples * images.shape().elements_per_sample()), scratch_(scratch) {}

const void* ImageReader::chunk(std::int64_t i) const {
  if (scratch_ == nullptr) return images_.raw();
  const std::int64_t begin = i * chunk_elements_;
  const std::int64_t size = std::min(chunk_elements_, images_.elements() - begin);
  simd::convert(piece(images_, begin, size), TensorView(scratch_, DType::fp32, Shape{size}));
  std::fill(scratch_ + size, scratch_ + chunk_elements_, 0.0F);
  return scratch_;
}

ImageWriter::ImageWriter(TensorView images, const ConvolutionPlan& plan, float* scratch, Activation activation)
    : images_(images),
      chunk_elements_(plan.chunk_samples * images.shape().elements_per_sample()),
      scratch_(scratch),
      activation_(activation) {}

void* ImageWriter::target() const { return scratch_ == nullptr ? images_.raw() : scratch_; }

void ImageWriter::store(std::int64_t i) const {
  if (scratch_ == nullptr) return activate(images_, activation_);
  const std::int64_t begin = i * chunk_elements_;
  const std::int64_t size = std::min(chunk_elements_, images_.elements() - begin);
  const TensorView chunk = images_.slice(begin, begin + size);
  simd::convert(ConstTensorView(scratch_, DType::fp32, Shape{size}), chunk);
  activate(chunk, activation_);
}

WeightReader::WeightReader(ConstTensorView w, ConstTensorView bias, const ConvolutionPlan& plan, TensorView workspace)
    : w_(w), bias_(bias), packed_(plan.packed.in(workspace)), repacking_(bind_repacking(plan, workspace)) {
  if (!plan.plain.empty()) plain_ = TensorView(plan.plain.in(workspace), plan.compute, w.shape());
  if (!plan.bias.empty()) bias_scratch_ = TensorView(plan.bias.in(workspace), DType::fp32, bias.shape());
}

const void* WeightReader::weights() {
  const void* weights = w_.raw();
  if (plain_.present()) {
    simd::convert(w_, plain_);
    weights = plain_.raw();
  }
  if (packed_ == nullptr) return weights;
  repacking_.point(DNNL_ARG_FROM, weights);
  repacking_.point(DNNL_ARG_TO, packed_);
  repacking_.run();
  return packed_;
}

const void* WeightReader::bias() const {
  if (!bias_scratch_.present()) return bias_.raw();
  simd::convert(bias_, bias_scratch_);
  return bias_scratch_.raw();
}

GradientWriter::GradientWriter(TensorView dw, TensorView dbias, const ConvolutionPlan& plan, TensorView workspace,
                               bool accumulate)
    : dw_(dw),
      dbias_(dbias),
      packed_(floats(plan.packed, workspace)),
      packed_sum_(floats(plan.packed_sum, workspace)),
      plain_(floats(plan.plain, workspace)),
      bias_(floats(plan.bias, workspace)),
      bias_sum_(floats(plan.bias_sum, workspace)),
      accumulate_(accumulate),
      repacked_(static_cast<bool>(plan.repacking)),
      repacking_(bind_repacking(plan, workspace)) {
  if (packed_.empty()) packed_ = dw.span<float>();
  if (bias_.empty() && dbias.present()) bias_ = dbias.span<float>();
  if (plain_.empty() && repacked_) plain_ = dw.span<float>();
}

void* GradientWriter::weights(std::int64_t i) const {
  return i == 0 && !packed_sum_.empty() ? packed_sum_.data() : packed_.data();
}

void* GradientWriter::bias(std::int64_t i) const { return i == 0 && !bias_sum_.empty() ? bias_sum_.data() : bias_.data(); }

void GradientWriter::add(std::int64_t i) const {
  if (i == 0) return;
  add_parallel(packed_, packed_sum_);
  add_parallel(bias_.first(bias_sum_.size()), bias_sum_);
}

void GradientWriter::store() {
  std::span<float> sum = packed_sum_.empty() ? packed_ : packed_sum_;
  if (repacked_) {
    repacking_.point(DNNL_ARG_FROM, sum.data());
    repacking_.point(DNNL_ARG_TO, plain_.data());
    repacking_.run();
    sum = plain_;
  }
  store_rounded(sum, dw_, accumulate_);
  if (dbias_.present()) store_rounded(bias_sum_.empty() ? bias_ : bias_sum_, dbias_, accumulate_);
}

}  // namespace minim::onednn

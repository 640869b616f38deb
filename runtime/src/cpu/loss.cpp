#include "minim/runtime/kernels/loss.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "cpu/parallel.h"
#include "cpu/softmax.h"
#include "cpu/vector_kernels.h"

namespace minim::cpu {
namespace {

/// The samples are summed in this many slices, whatever the number of threads: so the sum's bits do not depend on it.
constexpr std::int64_t kSlices = 64;

/// What forward and backward read alike.
template <class Args>
class Batch {
 public:
  /// Throws DataError for a label that is no class.
  explicit Batch(const Args& args)
      : args_(args), samples_(args.logits.shape()[0]), classes_(args.logits.shape()[1]), valid_samples_(count_valid()) {
    for (std::int64_t n = 0; n < valid_samples_; ++n) {
      if (label(n) >= 0 && label(n) < classes_) continue;
      throw DataError(fmt::format("sample {} of the batch has label {}: 0 to {} is wanted", n, label(n), classes_ - 1));
    }
  }

  std::int64_t samples() const { return samples_; }
  std::int64_t valid_samples() const { return valid_samples_; }
  std::int64_t row_bytes() const { return classes_ * size_bytes(args_.logits.dtype()); }
  /// Samples that are worth a thread.
  std::int64_t grain() const { return kElementsPerThread / 8 / std::max<std::int64_t>(classes_, 1) + 1; }

  float weight(std::int64_t n) const {
    return args_.sample_weights.present() ? args_.sample_weights.template data<float>()[n] : 1;
  }
  SoftmaxRow row(std::int64_t n) const {
    return {.dtype = args_.logits.dtype(),
            .logits = static_cast<const std::byte*>(args_.logits.raw()) + n * row_bytes(),
            .classes = classes_,
            .label = label(n),
            .label_smoothing = args_.label_smoothing};
  }

 private:
  std::int32_t label(std::int64_t n) const { return args_.labels.template data<std::int32_t>()[n]; }
  std::int64_t count_valid() const {
    if (!args_.valid_samples.present()) return samples_;
    return std::clamp<std::int64_t>(*args_.valid_samples.template data<std::int32_t>(), 0, samples_);
  }

  const Args& args_;
  std::int64_t samples_;
  std::int64_t classes_;
  std::int64_t valid_samples_;
};

struct Totals {
  double loss = 0;
  double weight = 0;
  double correct = 0;

  void add(const Totals& other) {
    loss += other.loss;
    weight += other.weight;
    correct += other.correct;
  }
};

Totals sum_samples(const SoftmaxCrossEntropyForward& args, const Batch<SoftmaxCrossEntropyForward>& batch, std::int64_t begin,
                   std::int64_t end) {
  Totals totals;
  for (std::int64_t n = begin; n < end; ++n) {
    const SoftmaxLoss sample = softmax_loss(batch.row(n));
    const double weight = batch.weight(n);
    args.log_sum_exp.data<float>()[n] = sample.log_sum_exp;
    totals.add({.loss = weight * sample.loss, .weight = weight, .correct = sample.correct ? weight : 0});
  }
  return totals;
}

void run_forward(const SoftmaxCrossEntropyForward& args) {
  const Batch batch(args);
  std::array<Totals, kSlices> slices{};
  const std::int64_t valid = batch.valid_samples();
  const std::int64_t grain = batch.grain() / (valid / kSlices + 1) + 1;
  parallel_for(kSlices, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t s = begin; s < end; ++s) {
      slices[static_cast<std::size_t>(s)] = sum_samples(args, batch, valid * s / kSlices, valid * (s + 1) / kSlices);
    }
  });
  std::fill_n(args.log_sum_exp.data<float>() + valid, batch.samples() - valid, 0.0F);
  Totals totals;
  for (const auto& slice : slices) totals.add(slice);
  const auto finish = [&](const TensorView& view, double sum) {
    float& value = *view.data<float>();
    value = static_cast<float>(sum + (args.accumulate ? value : 0.0F));
  };
  finish(args.loss, totals.loss);
  finish(args.weight, totals.weight);
  finish(args.correct, totals.correct);
}

void run_backward(const SoftmaxCrossEntropyBackward& args) {
  const Batch batch(args);
  const double scale = double{*args.loss_scale.data<float>()} / args.nominal_weight;
  auto* dlogits = static_cast<std::byte*>(args.dlogits.raw());
  parallel_for(batch.valid_samples(), batch.grain(), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) {
      const auto factor = static_cast<float>(batch.weight(n) * scale);
      softmax_gradient(batch.row(n), args.log_sum_exp.data<float>()[n], factor, dlogits + n * batch.row_bytes());
    }
  });
  const std::int64_t padding_bytes = (batch.samples() - batch.valid_samples()) * batch.row_bytes();
  if (padding_bytes > 0) {
    std::memset(dlogits + batch.valid_samples() * batch.row_bytes(), 0, static_cast<std::size_t>(padding_bytes));
  }
}

}  // namespace

void add_loss_kernels(Backend& backend) {
  backend.add_kernel<SoftmaxCrossEntropyForward>(host_kernel<SoftmaxCrossEntropyForward>(run_forward), kSet);
  backend.add_kernel<SoftmaxCrossEntropyBackward>(host_kernel<SoftmaxCrossEntropyBackward>(run_backward), kSet);
}

}  // namespace minim::cpu

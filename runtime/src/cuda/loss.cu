#include "minim/runtime/kernels/loss.h"

#include <algorithm>
#include <limits>

#include "cuda/block.cuh"
#include "cuda/cuda_kernel.h"
#include "cuda/floats.cuh"
#include "cuda/kernels.h"
#include "cuda/launch.h"

namespace minim::cuda {
namespace loss_kernels {

/// Threads that work on a row of logits together.
inline constexpr int kRowThreads = 128;
/// The samples are summed in this many slices at most, each by a block of threads.
inline constexpr std::int64_t kMaxSlices = 1024;

/// What forward and backward read alike. A label that is no class makes the sample's loss and gradients NaN, so that no step is
/// applied that has seen it.
struct SoftmaxBatch {
  __device__ std::int64_t count_valid() const {
    if (valid_samples == nullptr) return samples;
    const std::int64_t valid = *valid_samples;
    return valid < 0 ? 0 : valid < samples ? valid : samples;
  }
  __device__ float weight(std::int64_t n) const { return sample_weights == nullptr ? 1.0F : sample_weights[n]; }
  __device__ bool has_label(std::int64_t n) const { return labels[n] >= 0 && labels[n] < classes; }

  std::int64_t samples;
  std::int64_t classes;
  const std::int32_t* labels;
  const float* sample_weights;        ///< may be null
  const std::int32_t* valid_samples;  ///< may be null
  double label_smoothing;
};

struct LossTotals {
  double loss, weight, correct;
};

struct SampleLoss {
  double loss;
  float log_sum_exp;
  bool correct;  ///< the label's is the first of the largest logits, and none is NaN
};

/// What a row of logits comes to, in the threads' sums.
struct RowSums {
  float largest;       ///< NaN where there is one
  float exponentials;  ///< sum of e^(x - largest)
  float offsets;       ///< sum of x - largest, where labels are smoothed
  int larger_before;   ///< logits before the label's that are the largest
};

template <int kWidth, class T>
__device__ RowSums sum_row(const SoftmaxBatch& batch, const T* logits, std::int32_t label) {
  float largest = -std::numeric_limits<float>::infinity();
  for (std::int64_t k = threadIdx.x * kWidth; k < batch.classes; k += kRowThreads * kWidth) {
    const auto x = load_floats<kWidth>(logits + k);
    for (int i = 0; i < kWidth; ++i) largest = Largest{}(largest, x[i]);
  }
  RowSums sums{block_reduce<kRowThreads>(largest, Largest{}), 0, 0, 0};
  for (std::int64_t k = threadIdx.x * kWidth; k < batch.classes; k += kRowThreads * kWidth) {
    const auto x = load_floats<kWidth>(logits + k);
    for (int i = 0; i < kWidth; ++i) {
      sums.exponentials += expf(x[i] - sums.largest);
      sums.offsets += x[i] - sums.largest;
      if (x[i] == sums.largest && k + i < label) sums.larger_before += 1;
    }
  }
  sums.exponentials = block_sum<kRowThreads>(sums.exponentials);
  if (batch.label_smoothing > 0) sums.offsets = block_sum<kRowThreads>(sums.offsets);
  sums.larger_before = block_sum<kRowThreads>(sums.larger_before);
  return sums;
}

/// In FP64, of sums in FP32: a few operations per sample, of one thread.
__device__ inline SampleLoss loss_of(const SoftmaxBatch& batch, const RowSums& sums, float chosen) {
  const auto log_sum = static_cast<double>(logf(sums.exponentials));
  double loss = log_sum - (1 - batch.label_smoothing) * (static_cast<double>(chosen) - static_cast<double>(sums.largest));
  if (batch.label_smoothing > 0) {
    loss -= batch.label_smoothing / static_cast<double>(batch.classes) * static_cast<double>(sums.offsets);
  }
  return {loss, static_cast<float>(static_cast<double>(sums.largest) + log_sum),
          log_sum == log_sum && chosen == sums.largest && sums.larger_before == 0};
}

/// Slice blockIdx.x of the samples: its sums, and log_sum_exp of its samples; 0 for padding.
template <class T, int kWidth>
__global__ void __launch_bounds__(kRowThreads)
    softmax_losses(SoftmaxBatch batch, const T* logits, float* log_sum_exp, LossTotals* slices) {
  const std::int64_t slice = blockIdx.x;
  const std::int64_t valid = batch.count_valid();
  LossTotals totals{0, 0, 0};
  for (std::int64_t n = batch.samples * slice / gridDim.x; n < batch.samples * (slice + 1) / gridDim.x; ++n) {
    if (n >= valid) {
      if (threadIdx.x == 0) log_sum_exp[n] = 0;
      continue;
    }
    const T* const row = logits + n * batch.classes;
    const RowSums sums = sum_row<kWidth>(batch, row, batch.labels[n]);
    if (threadIdx.x != 0) continue;
    const float chosen = batch.has_label(n) ? to_float(row[batch.labels[n]]) : std::numeric_limits<float>::quiet_NaN();
    const SampleLoss sample = loss_of(batch, sums, chosen);
    const auto weight = static_cast<double>(batch.weight(n));
    log_sum_exp[n] = sample.log_sum_exp;
    totals.loss += weight * sample.loss;
    totals.weight += weight;
    totals.correct += sample.correct ? weight : 0;
  }
  if (threadIdx.x == 0) slices[slice] = totals;
}

struct LossOutputs {
  float* loss;
  float* weight;
  float* correct;
  bool accumulate;

  __device__ void put(float* to, double sum) const {
    *to = static_cast<float>(sum + (accumulate ? static_cast<double>(*to) : 0.0));
  }
};

/// Adds up the slices; one block.
__global__ void __launch_bounds__(kThreads)
    softmax_loss_totals(const LossTotals* slices, std::int64_t count, LossOutputs outputs) {
  LossTotals totals{0, 0, 0};
  for (std::int64_t s = threadIdx.x; s < count; s += kThreads) {
    totals.loss += slices[s].loss;
    totals.weight += slices[s].weight;
    totals.correct += slices[s].correct;
  }
  totals.loss = block_sum<kThreads>(totals.loss);
  totals.weight = block_sum<kThreads>(totals.weight);
  totals.correct = block_sum<kThreads>(totals.correct);
  if (threadIdx.x != 0) return;
  outputs.put(outputs.loss, totals.loss);
  outputs.put(outputs.weight, totals.weight);
  outputs.put(outputs.correct, totals.correct);
}

/// By what the gradients of a batch are multiplied.
struct GradientScale {
  __device__ float factor(const SoftmaxBatch& batch, std::int64_t n) const {
    if (!batch.has_label(n)) return std::numeric_limits<float>::quiet_NaN();
    return batch.weight(n) * (*loss_scale / nominal_weight);
  }

  const float* loss_scale;
  float nominal_weight;
  float target;        ///< of a class that is not the label's
  float label_target;  ///< of the label's
};

template <class T, int kWidth>
__global__ void __launch_bounds__(kRowThreads)
    softmax_gradients(SoftmaxBatch batch, const T* logits, const float* log_sum_exp, GradientScale scale, T* dlogits) {
  const std::int64_t valid = batch.count_valid();
  for (std::int64_t n = blockIdx.x; n < batch.samples; n += gridDim.x) {
    const bool counts = n < valid;
    const std::int64_t label = counts ? batch.labels[n] : 0;
    const float factor = counts ? scale.factor(batch, n) : 0;
    for (std::int64_t k = threadIdx.x * kWidth; k < batch.classes; k += kRowThreads * kWidth) {
      Floats<kWidth> result{};
      if (counts) {
        result = load_floats<kWidth>(logits + n * batch.classes + k);
        for (int i = 0; i < kWidth; ++i) {
          const float softmax = expf(result[i] - log_sum_exp[n]);
          result[i] = (softmax - (k + i == label ? scale.label_target : scale.target)) * factor;
        }
      }
      store_floats(dlogits + n * batch.classes + k, result);
    }
  }
}

template <class Args>
SoftmaxBatch batch_of(const Args& args) {
  return {.samples = args.logits.shape()[0],
          .classes = args.logits.shape()[1],
          .labels = device_pointer<std::int32_t>(args.labels),
          .sample_weights = args.sample_weights.present() ? device_pointer<float>(args.sample_weights) : nullptr,
          .valid_samples = args.valid_samples.present() ? device_pointer<std::int32_t>(args.valid_samples) : nullptr,
          .label_smoothing = args.label_smoothing};
}

std::int64_t slices_of(const ConstTensorView& logits) { return std::min(logits.shape()[0], kMaxSlices); }

std::int64_t workspace_bytes(const SoftmaxCrossEntropyForward& args) {
  return slices_of(args.logits) * static_cast<std::int64_t>(sizeof(LossTotals));
}

std::function<void(Stream&)> make_forward(const SoftmaxCrossEntropyForward& args) {
  const SoftmaxBatch batch = batch_of(args);
  const bool packed = fits_packs(args.logits.dtype(), batch.classes, args.logits.raw());
  return dispatch_packs(args.logits.dtype(), packed, [&](auto element, auto width) -> std::function<void(Stream&)> {
    using T = decltype(element);
    const auto* const logits = device_pointer<T>(args.logits);
    auto* const log_sum_exp = device_pointer<float>(args.log_sum_exp);
    auto* const slices = static_cast<LossTotals*>(args.workspace.raw());
    const std::int64_t count = slices_of(args.logits);
    const LossOutputs outputs{device_pointer<float>(args.loss), device_pointer<float>(args.weight),
                              device_pointer<float>(args.correct), args.accumulate};
    return [=](Stream& stream) {
      launch<softmax_losses<T, width>>(stream, {.blocks = count, .threads = kRowThreads}, batch, logits, log_sum_exp, slices);
      launch<softmax_loss_totals>(stream, {.blocks = 1, .threads = kThreads}, slices, count, outputs);
    };
  });
}

std::function<void(Stream&)> make_backward(const SoftmaxCrossEntropyBackward& args) {
  const SoftmaxBatch batch = batch_of(args);
  const double share = args.label_smoothing / static_cast<double>(batch.classes);
  const GradientScale scale{.loss_scale = device_pointer<float>(args.loss_scale),
                            .nominal_weight = static_cast<float>(args.nominal_weight),
                            .target = static_cast<float>(share),
                            .label_target = static_cast<float>(1 - args.label_smoothing + share)};
  const bool packed = fits_packs(args.logits.dtype(), batch.classes, args.logits.raw(), args.dlogits.raw());
  return dispatch_packs(args.logits.dtype(), packed, [&](auto element, auto width) -> std::function<void(Stream&)> {
    using T = decltype(element);
    const auto* const logits = device_pointer<T>(args.logits);
    const auto* const log_sum_exp = device_pointer<float>(args.log_sum_exp);
    auto* const dlogits = device_pointer<T>(args.dlogits);
    const LaunchShape shape{.blocks = std::min(batch.samples, kMaxBlocks), .threads = kRowThreads};
    return
        [=](Stream& stream) { launch<softmax_gradients<T, width>>(stream, shape, batch, logits, log_sum_exp, scale, dlogits); };
  });
}

}  // namespace loss_kernels

void add_loss_kernels(Backend& backend) {
  backend.add_kernel<SoftmaxCrossEntropyForward>(
      cuda_kernel<SoftmaxCrossEntropyForward>(loss_kernels::make_forward, loss_kernels::workspace_bytes), kSet);
  backend.add_kernel<SoftmaxCrossEntropyBackward>(cuda_kernel<SoftmaxCrossEntropyBackward>(loss_kernels::make_backward), kSet);
}

}  // namespace minim::cuda

#include "data/batch_writer.h"

#include <fmt/format.h>

#include <cstring>

#include "minim/runtime/simd.h"

namespace minim {
namespace {

/// Clears samples [valid, N) of a batch.
void pad(Batch& batch, std::int64_t valid) {
  const auto clear = [valid](const Tensor& tensor) {
    const TensorView all = tensor;
    const auto view = all.slice(valid * all.shape().elements_per_sample(), all.elements());
    if (view.size_bytes() > 0) std::memset(view.raw(), 0, static_cast<std::size_t>(view.size_bytes()));
  };
  clear(batch.images);
  clear(batch.labels);
  clear(batch.sample_ids);
  batch.valid_samples = static_cast<std::int32_t>(valid);
}

}  // namespace

void validate(const LoaderOptions& options) {
  const auto require = [](bool holds, std::string_view what, std::int64_t found, std::string_view wanted) {
    if (!holds) throw InvalidArgument(fmt::format("loader: {} is {}, wanted {}", what, found, wanted));
  };
  require(options.batch >= 1, "the batch", options.batch, "at least 1");
  require(options.micro_batches >= 1, "the number of micro-batches", options.micro_batches, "at least 1");
  require(options.world_size >= 1, "the number of ranks", options.world_size, "at least 1");
  require(options.rank >= 0 && options.rank < options.world_size, "the rank", options.rank, "one of the ranks");
  require(options.start_position >= 0, "the start position", options.start_position, "at least 0");
  require(options.threads >= 1, "the number of threads", options.threads, "at least 1");
  require(options.depth >= 1, "the depth", options.depth, "at least 1");
  const bool floating = options.dtype == DType::fp32 || options.dtype == DType::fp16 || options.dtype == DType::bf16;
  if (!floating) throw InvalidArgument(fmt::format("loader: images as {}, wanted fp32, fp16 or bf16", name(options.dtype)));
}

Batch allocate_batch(const Dataset& dataset, Backend& backend, const LoaderOptions& options) {
  const ImageTask task = dataset.task();
  const std::int64_t n = options.batch;
  Batch batch;
  const Shape images{n, task.height, task.width, task.channels};
  batch.images = backend.allocate_host_tensor(options.dtype, images, MemoryKind::staging);
  batch.labels = backend.allocate_host_tensor(DType::int32, Shape{n}, MemoryKind::staging);
  batch.sample_ids = backend.allocate_host_tensor(DType::int64, Shape{n}, MemoryKind::staging);
  pad(batch, 0);
  return batch;
}

BatchWriter::BatchWriter(const Dataset& dataset, DType dtype, std::optional<std::uint64_t> seed)
    : dataset_(dataset), seed_(seed) {
  const ImageTask task = dataset.task();
  if (dtype != DType::fp32) image_.resize(static_cast<std::size_t>(task.height * task.width * task.channels));
}

std::int32_t BatchWriter::read(std::int64_t index, std::int64_t id, std::span<float> image) const {
  if (seed_) return dataset_.read_augmented(index, {.seed = *seed_, .position = id}, image);
  return dataset_.read(index, image);
}

void BatchWriter::write(Batch& batch, std::int64_t at, std::int64_t first_id, std::span<const std::int64_t> indices) {
  const std::int64_t per_sample = batch.images.shape().elements_per_sample();
  const auto labels = batch.labels.span<std::int32_t>();
  const auto ids = batch.sample_ids.span<std::int64_t>();
  for (std::size_t i = 0; i < indices.size(); ++i) {
    const std::int64_t sample = at + static_cast<std::int64_t>(i);
    const TensorView image = batch.images.view().slice(sample * per_sample, (sample + 1) * per_sample);
    const std::int64_t id = first_id + static_cast<std::int64_t>(i);
    std::int32_t& label = labels[static_cast<std::size_t>(sample)];
    dispatch_floating(image.dtype(), [&]<class T>(T) {
      if constexpr (std::is_same_v<T, float>) {
        label = read(indices[i], id, image.span<float>());
      } else {
        label = read(indices[i], id, image_);
        simd::from_float(image_.data(), image.data<T>(), per_sample);
      }
    });
    ids[static_cast<std::size_t>(sample)] = id;
  }
}

void BatchWriter::finish(Batch& batch, std::int64_t valid) {
  pad(batch, valid);
  batch.error.clear();
}

void BatchWriter::fail(Batch& batch, std::string_view reason) {
  pad(batch, 0);
  batch.error = reason;
}

}  // namespace minim

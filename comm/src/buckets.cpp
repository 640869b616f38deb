#include "minim/comm/buckets.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "minim/runtime/error.h"
#include "minim/runtime/kernels/elementwise.h"

namespace minim {
namespace {

/// Each parameter starts on so many elements, and so does each rank's slice.
constexpr std::int64_t kParameterGrain = 64;

Tensor allocate_flat(Backend& backend, Communicator& communicator, DType dtype, std::int64_t elements, MemoryKind kind) {
  auto buffer = std::make_shared<Buffer>(communicator.allocate(backend, elements * size_bytes(dtype), kind));
  return {std::move(buffer), 0, dtype, Shape{elements}};
}

TensorView place(const TensorView& flat, const BucketEntry& entry) {
  const Parameter& parameter = *entry.parameter;
  return flat.slice(entry.offset, entry.offset + entry.elements).reshaped(physical_shape(parameter.shape, parameter.layout));
}

}  // namespace

TensorView Bucket::slice(TensorView flat, int rank, int world_size) const {
  if (flat.elements() != elements) {
    throw InvalidArgument(fmt::format("{} has {} elements, a slice of {} was asked for", name, elements, flat.elements()));
  }
  const std::int64_t length = slice_elements(world_size);
  return flat.slice(rank * length, (rank + 1) * length);
}

std::vector<Bucket> plan_buckets(std::span<Parameter* const> parameters, DType compute_dtype, int world_size,
                                 BucketOptions options) {
  if (world_size < 1) throw InvalidArgument(fmt::format("buckets for {} ranks, at least one is wanted", world_size));
  std::vector<Bucket> buckets;
  std::map<DType, std::size_t> open;  // of each type; normalisation parameters in FP32 alternate with weights of the other type
  for (Parameter* const parameter : parameters) {
    const DType dtype = parameter->keep_fp32 ? DType::fp32 : compute_dtype;
    const auto [found, is_new] = open.try_emplace(dtype, buckets.size());
    if (is_new) {
      Bucket& added = buckets.emplace_back();
      added.name = fmt::format("bucket {}", buckets.size() - 1);
      added.dtype = dtype;
    }
    Bucket& bucket = buckets[found->second];
    const std::int64_t elements = parameter->shape.elements();
    bucket.entries.push_back({parameter, bucket.elements, elements});
    bucket.elements = round_up(bucket.elements + elements, kParameterGrain);
    if (bucket.elements * size_bytes(dtype) >= options.bucket_bytes) open.erase(found);
  }
  for (Bucket& bucket : buckets) bucket.elements = round_up(bucket.elements, kParameterGrain * world_size);
  return buckets;
}

BucketSet::BucketSet(Backend& backend, Communicator& communicator, std::span<Parameter* const> parameters, DType compute_dtype,
                     BucketOptions options)
    : buckets_(plan_buckets(parameters, compute_dtype, communicator.size(), options)) {
  const auto stream = backend.make_stream("set-up");
  for (Bucket& bucket : buckets_) {
    bucket.weights_ = allocate_flat(backend, communicator, bucket.dtype, bucket.elements, MemoryKind::weights);
    bucket.gradients_ = allocate_flat(backend, communicator, bucket.dtype, bucket.elements, MemoryKind::gradients);
    backend.run(*stream, Zero{.y = bucket.weights_});
    backend.run(*stream, Zero{.y = bucket.gradients_});
  }
  for (const Bucket& bucket : buckets_) {
    for (const BucketEntry& entry : bucket.entries) {
      entry.parameter->weight = place(bucket.weights(), entry);
      entry.parameter->gradient = place(bucket.gradients(), entry);
    }
  }
}

BucketSet::~BucketSet() {
  for (const Bucket& bucket : buckets_) {
    for (const BucketEntry& entry : bucket.entries) {
      if (entry.parameter->weight.raw() != place(bucket.weights(), entry).raw()) continue;  // placed elsewhere meanwhile
      entry.parameter->weight = {};
      entry.parameter->gradient = {};
    }
  }
}

int BucketSet::bucket_of(const Parameter& parameter) const {
  for (std::size_t b = 0; b < buckets_.size(); ++b) {
    const auto& entries = buckets_[b].entries;
    if (std::any_of(entries.begin(), entries.end(), [&](const BucketEntry& entry) { return entry.parameter == &parameter; })) {
      return static_cast<int>(b);
    }
  }
  return -1;
}

}  // namespace minim

#include "average_kernels.h"
#include "minim/runtime/kernels/elementwise.h"
#include "optimizer_impl.h"

namespace minim {

void ShardedOptimizer::Impl::allocate_arrays(BucketState& bucket, Stream& stream) const {
  const auto allocate = [&](std::int64_t elements, MemoryKind kind) {
    Tensor tensor = backend.allocate_tensor(DType::fp32, Shape{elements}, kind);
    backend.run(stream, Zero{.y = tensor});  // padding stays so
    return tensor;
  };
  const BucketShare& share = bucket.share;
  if (share.has_master) bucket.master = allocate(share.elements(), MemoryKind::master_weights);
  if (share.moments > 0) bucket.moment1 = allocate(share.elements(), MemoryKind::moments);
  if (share.moments > 1) bucket.moment2 = allocate(share.elements(), MemoryKind::moments);
  if (share.has_average) bucket.average = allocate(share.elements(), MemoryKind::moments);
  if (share.has_sums) bucket.sums = allocate(share.check_end - share.check_begin, MemoryKind::workspace);
}

void ShardedOptimizer::Impl::prepare_kernels(BucketState& state, const std::unordered_map<const Parameter*, int>& indices) const {
  const Bucket& bucket = *state.bucket;
  const BucketShare& share = state.share;
  const auto view = [](const Tensor& tensor) { return tensor.elements() > 0 ? tensor.view() : TensorView(); };
  const auto gradient = [&](std::int64_t begin, std::int64_t end) {
    return share.has_sums ? state.sums.view() : bucket.gradients().slice(begin, end);
  };
  state.check =
      backend.prepare(CheckGradients{.segments = segments_of(bucket, share.check_begin, share.check_end, indices, config.groups),
                                     .gradient = gradient(share.check_begin, share.check_end),
                                     .wire_exponent = share.wire_exponent,
                                     .state = agreement.state(),
                                     .record = agreement.record()});
  const std::vector<UpdateSegment> segments = segments_of(bucket, share.begin, share.end, indices, config.groups);
  const TensorView weight = bucket.weights().slice(share.begin, share.end);
  if (trust) {
    state.measure = backend.prepare(MeasureUpdate{.rule = config.rule,
                                                  .segments = segments,
                                                  .gradient = gradient(share.begin, share.end),
                                                  .wire_exponent = share.wire_exponent,
                                                  .master = view(state.master),
                                                  .weight = weight,
                                                  .moment1 = view(state.moment1),
                                                  .moment2 = view(state.moment2),
                                                  .state = agreement.state(),
                                                  .squares = trust->own_squares()});
  }
  state.update = backend.prepare(ApplyUpdate{.rule = config.rule,
                                             .segments = segments,
                                             .gradient = gradient(share.begin, share.end),
                                             .wire_exponent = share.wire_exponent,
                                             .master = view(state.master),
                                             .moment1 = view(state.moment1),
                                             .moment2 = view(state.moment2),
                                             .weight = weight,
                                             .state = agreement.state(),
                                             .ratios = trust ? trust->ratios() : TensorView(),
                                             .overflow = agreement.overflow()});
  if (share.has_average) prepare_average(state);
  if (share.has_kept) prepare_kept(state);
}

void ShardedOptimizer::Impl::prepare_average(BucketState& state) const {
  const TensorView master = array_view(state, master_name(config.precision));
  const TensorView weight = state.bucket->weights().slice(state.share.begin, state.share.end);
  state.track = backend.prepare(
      AverageWeights{.decay = config.average_decay, .weight = master, .average = state.average, .state = agreement.state()});
  if (state.share.has_master) state.round_weights = backend.prepare(Cast{.x = master, .y = weight});
}

void ShardedOptimizer::Impl::prepare_kept(BucketState& state) const {
  const TensorView gradients = state.bucket->gradients();
  const TensorView scratch = widened.view().slice(0, gradients.elements());
  KeptGradients& kept = state.kept.emplace();
  kept.sums = backend.allocate_tensor(DType::fp32, Shape{gradients.elements()}, MemoryKind::gradients);
  kept.start = backend.prepare(Cast{.x = gradients, .y = kept.sums});
  kept.widen = backend.prepare(Cast{.x = gradients, .y = scratch});
  kept.add = backend.prepare(Sum{.inputs = {kept.sums, scratch}, .y = kept.sums});
  kept.clear = backend.prepare(Zero{.y = gradients});
  kept.complete = backend.prepare(Sum{.inputs = {kept.sums, scratch}, .y = scratch});
  kept.round = backend.prepare(Cast{.x = scratch, .y = gradients});
}

}  // namespace minim

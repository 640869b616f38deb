#include <fmt/core.h>

#include <algorithm>

#include "minim/optimizer/sharded_optimizer.h"
#include "minim/runtime/error.h"
#include "minim/runtime/kernels/elementwise.h"
#include "minim/runtime/transfer.h"
#include "optimizer_impl.h"

namespace minim {

namespace {

constexpr const char* kMoments[] = {"moment1", "moment2"};
constexpr const char* kAverage = "average";

TensorView view_of(std::span<float> values) {
  return {values.data(), DType::fp32, Shape{static_cast<std::int64_t>(values.size())}};
}

}  // namespace

const char* master_name(Precision precision) { return has_master_weights(precision) ? "master" : "weight"; }

bool ShardedOptimizer::Impl::has_array(const std::string& array) const {
  const int held = moments(config.rule);
  if (array == kAverage) return config.average_decay > 0;
  return array == master_name(config.precision) || (held > 0 && array == kMoments[0]) || (held > 1 && array == kMoments[1]);
}

TensorView ShardedOptimizer::Impl::array_view(const BucketState& bucket, const std::string& array) const {
  if (array == kMoments[0]) return bucket.moment1.view();
  if (array == kMoments[1]) return bucket.moment2.view();
  if (array == kAverage) return bucket.average.view();
  if (bucket.share.has_master) return bucket.master.view();
  return bucket.bucket->weights().slice(bucket.share.begin, bucket.share.end);
}

ShardedOptimizer::Impl::Piece ShardedOptimizer::Impl::piece_of(const Place& place, int owner) const {
  const Bucket& bucket = *buckets[static_cast<std::size_t>(place.bucket)].bucket;
  const BucketShare share = share_of(bucket, owner, world_size, config);
  const std::int64_t first = std::max(share.begin, place.offset);
  const std::int64_t last = std::min(share.end, place.offset + place.elements);
  return {first - place.offset, last - place.offset, first - share.begin};
}

void ShardedOptimizer::Impl::set_physical(const std::string& array, const Parameter& parameter, std::span<const float> physical) {
  const Place& at = place(parameter);
  const BucketState& bucket = buckets[static_cast<std::size_t>(at.bucket)];
  if (const Piece piece = piece_of(at, rank); !piece.empty()) {
    const std::int64_t count = piece.end - piece.begin;
    const auto values = physical.subspan(static_cast<std::size_t>(piece.begin), static_cast<std::size_t>(count));
    const auto set = [&](const std::string& which) {
      upload(backend, values, array_view(bucket, which).slice(piece.array_begin, piece.array_begin + count));
    };
    set(array);
    if (array == master_name(config.precision) && has_array(kAverage)) set(kAverage);
  }
  if (array == master_name(config.precision)) {
    upload(backend, physical, bucket.bucket->weights().slice(at.offset, at.offset + at.elements));
  }
}

void ShardedOptimizer::Impl::zero_moments() {
  const auto stream = backend.make_stream("set-up");
  for (const BucketState& bucket : buckets) {
    for (const Tensor* moment : {&bucket.moment1, &bucket.moment2}) {
      if (moment->elements() > 0) backend.run(*stream, Zero{.y = *moment});
    }
  }
}

void ShardedOptimizer::initialize(std::uint64_t seed) {
  for (const Parameter* parameter : impl_->parameters) {
    if (impl_->piece_of(impl_->place(*parameter), impl_->rank).empty()) continue;
    const auto elements = static_cast<std::size_t>(parameter->shape.elements());
    std::vector<float> logical(elements), physical(elements);
    minim::initialize(parameter->initializer, seed, parameter->name, 0, logical);
    to_physical(parameter->shape, parameter->layout, logical, physical);
    impl_->set_physical(master_name(impl_->config.precision), *parameter, physical);
  }
  impl_->zero_moments();
  impl_->agreement.clear_overflow();
  set_state(initial_state(impl_->config.loss_scale));
  impl_->current = !impl_->sharded;
}

std::vector<std::string> ShardedOptimizer::array_names() const {
  std::vector<std::string> names = {master_name(impl_->config.precision)};
  names.insert(names.end(), kMoments, kMoments + moments(impl_->config.rule));
  if (impl_->config.average_decay > 0) names.emplace_back(kAverage);
  return names;
}

std::vector<float> ShardedOptimizer::own_array(const std::string& array, const Parameter& parameter) const {
  if (!impl_->has_array(array)) throw InvalidArgument(fmt::format("optimizer: there is no array \"{}\"", array));
  const Impl::Place& place = impl_->place(parameter);
  const Impl::Piece own = impl_->piece_of(place, impl_->rank);
  if (own.empty()) return {};
  const std::int64_t count = own.end - own.begin;
  const BucketState& bucket = impl_->buckets[static_cast<std::size_t>(place.bucket)];
  std::vector<float> values(static_cast<std::size_t>(count));
  download(impl_->backend, impl_->array_view(bucket, array).slice(own.array_begin, own.array_begin + count), values);
  return values;
}

std::vector<float> ShardedOptimizer::gather_array(const std::string& array, const Parameter& parameter) {
  const std::vector<float> own = own_array(array, parameter);
  const Impl::Place& place = impl_->place(parameter);
  std::vector<float> physical(static_cast<std::size_t>(place.elements));
  if (!own.empty()) std::ranges::copy(own, physical.begin() + impl_->piece_of(place, impl_->rank).begin);
  for (int owner = 0; impl_->sharded && owner < impl_->world_size; ++owner) {
    const Impl::Piece piece = impl_->piece_of(place, owner);
    if (piece.empty()) continue;
    const Work work =
        impl_->communicator.broadcast(view_of(physical).slice(piece.begin, piece.end), owner,
                                      {.label = fmt::format("{} of \"{}\"", array, parameter.name), .after = Event()});
    work.wait();
  }
  std::vector<float> logical(physical.size());
  to_logical(parameter.shape, parameter.layout, physical, logical);
  return logical;
}

void ShardedOptimizer::set_array(const std::string& array, const Parameter& parameter, std::span<const float> logical) {
  if (!impl_->has_array(array)) throw InvalidArgument(fmt::format("optimizer: there is no array \"{}\"", array));
  if (static_cast<std::int64_t>(logical.size()) != parameter.shape.elements()) {
    throw InvalidArgument(fmt::format("array \"{}\" of \"{}\": {} elements were given, {} are wanted", array, parameter.name,
                                      logical.size(), parameter.shape.elements()));
  }
  std::vector<float> physical(logical.size());
  to_physical(parameter.shape, parameter.layout, logical, physical);
  impl_->set_physical(array, parameter, physical);
  impl_->agreement.clear_overflow();
}

}  // namespace minim

#include "minim/comm/buckets.h"

#include <gtest/gtest.h>

#include "group.h"
#include "minim/runtime/error.h"

namespace minim::test {
namespace {

constexpr int kWorldSizes[] = {1, 2, 3, 5, 7};

/// Convolutions of odd sizes, each followed by two FP32 parameters, as in a network with batch norm.
std::vector<Parameter> network() {
  std::vector<Parameter> parameters;
  for (const std::int64_t channels : {1, 3, 17, 64, 100}) {
    parameters.push_back({.name = "conv" + std::to_string(channels), .shape = {channels, 3, 3, 5}, .layout = {{0, 2, 3, 1}}});
    parameters.push_back({.name = "scale" + std::to_string(channels), .shape = {channels}, .keep_fp32 = true});
    parameters.push_back({.name = "shift" + std::to_string(channels), .shape = {channels}, .keep_fp32 = true});
  }
  return parameters;
}

std::vector<Parameter*> pointers(std::vector<Parameter>& parameters) {
  std::vector<Parameter*> result;
  for (Parameter& parameter : parameters) result.push_back(&parameter);
  return result;
}

TEST(PlanBuckets, EveryParameterHasOnePlaceOnSixtyFourElementsAtAnyWorldSize) {
  auto parameters = network();
  for (const int world_size : kWorldSizes) {
    const auto buckets = plan_buckets(pointers(parameters), DType::fp16, world_size, {.bucket_bytes = 4096});
    std::size_t placed = 0;
    for (const Bucket& bucket : buckets) {
      EXPECT_EQ(bucket.elements % (64 * world_size), 0);
      std::int64_t end = 0;
      for (const BucketEntry& entry : bucket.entries) {
        EXPECT_EQ(entry.offset % 64, 0);
        EXPECT_GE(entry.offset, end);
        EXPECT_EQ(entry.elements, entry.parameter->shape.elements());
        end = entry.offset + entry.elements;
        ++placed;
      }
      EXPECT_LE(end, bucket.elements);
    }
    EXPECT_EQ(placed, parameters.size());
  }
}

TEST(PlanBuckets, KeepsTypesApartThoughTheyAlternate) {
  auto parameters = network();
  const auto buckets = plan_buckets(pointers(parameters), DType::fp16, 2, {});
  ASSERT_EQ(buckets.size(), 2U);
  EXPECT_EQ(buckets[0].name, "bucket 0");
  EXPECT_EQ(buckets[0].dtype, DType::fp16);
  EXPECT_EQ(buckets[0].entries.size(), 5U);
  EXPECT_EQ(buckets[1].name, "bucket 1");
  EXPECT_EQ(buckets[1].dtype, DType::fp32);
  EXPECT_EQ(buckets[1].entries.size(), 10U);
}

TEST(PlanBuckets, InFp32AllParametersShareBucketsInTheirOrder) {
  auto parameters = network();
  const auto buckets = plan_buckets(pointers(parameters), DType::fp32, 2, {});
  ASSERT_EQ(buckets.size(), 1U);
  for (std::size_t i = 0; i < parameters.size(); ++i) EXPECT_EQ(buckets[0].entries[i].parameter, &parameters[i]);
}

TEST(PlanBuckets, ClosesABucketThatIsLargeEnough) {
  std::vector<Parameter> parameters(5, {.name = "p", .shape = {64}});
  const auto buckets = plan_buckets(pointers(parameters), DType::fp32, 1, {.bucket_bytes = 512});
  ASSERT_EQ(buckets.size(), 3U);
  EXPECT_EQ(buckets[0].entries.size(), 2U);
  EXPECT_EQ(buckets[1].entries.size(), 2U);
  EXPECT_EQ(buckets[2].entries.size(), 1U);
}

TEST(PlanBuckets, DependsOnNothingButItsArguments) {
  auto parameters = network();
  const auto first = plan_buckets(pointers(parameters), DType::bf16, 3, {.bucket_bytes = 2000});
  const auto second = plan_buckets(pointers(parameters), DType::bf16, 3, {.bucket_bytes = 2000});
  ASSERT_EQ(first.size(), second.size());
  for (std::size_t b = 0; b < first.size(); ++b) {
    EXPECT_EQ(first[b].name, second[b].name);
    EXPECT_EQ(first[b].elements, second[b].elements);
    ASSERT_EQ(first[b].entries.size(), second[b].entries.size());
    for (std::size_t e = 0; e < first[b].entries.size(); ++e) {
      EXPECT_EQ(first[b].entries[e].parameter, second[b].entries[e].parameter);
      EXPECT_EQ(first[b].entries[e].offset, second[b].entries[e].offset);
    }
  }
}

TEST(PlanBuckets, NoParametersNeedNoBuckets) { EXPECT_TRUE(plan_buckets({}, DType::fp16, 3, {}).empty()); }

TEST(BucketSet, PlacesParametersInZeroedMemoryWithTheirPhysicalShape) {
  auto parameters = network();
  const auto backend = make_reference_backend();
  const auto group = make_self_communicator();
  BucketSet set(*backend, *group, pointers(parameters), DType::fp16, {.bucket_bytes = 4096});
  for (const Parameter& parameter : parameters) {
    const DType dtype = parameter.keep_fp32 ? DType::fp32 : DType::fp16;
    ASSERT_GE(set.bucket_of(parameter), 0);
    const Bucket& bucket = set.buckets()[static_cast<std::size_t>(set.bucket_of(parameter))];
    EXPECT_EQ(bucket.dtype, dtype);
    for (const TensorView& view : {parameter.weight, parameter.gradient}) {
      EXPECT_EQ(view.dtype(), dtype);
      EXPECT_EQ(view.shape(), physical_shape(parameter.shape, parameter.layout));
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(view.raw()) % kAlignmentBytes, 0U);
    }
  }
  for (const Bucket& bucket : set.buckets()) {
    for (const TensorView& flat : {bucket.weights(), bucket.gradients()}) {
      const auto* const bytes = static_cast<const unsigned char*>(flat.raw());
      EXPECT_TRUE(std::all_of(bytes, bytes + flat.size_bytes(), [](unsigned char byte) { return byte == 0; }));
    }
  }
  EXPECT_EQ(set.bucket_of(Parameter{}), -1);
}

TEST(BucketSet, BooksWhatItAllocatesAndGivesItBack) {
  auto parameters = network();
  const auto backend = make_reference_backend();
  const auto group = make_self_communicator();
  {
    const BucketSet set(*backend, *group, pointers(parameters), DType::fp16);
    std::int64_t bytes = 0;
    for (const Bucket& bucket : set.buckets()) bytes += bucket.elements * size_bytes(bucket.dtype);
    EXPECT_EQ(backend->memory()->in_use_bytes(MemoryKind::weights), bytes);
    EXPECT_EQ(backend->memory()->in_use_bytes(MemoryKind::gradients), bytes);
    EXPECT_EQ(backend->memory()->in_use_bytes(), 2 * bytes);
  }
  EXPECT_EQ(backend->memory()->in_use_bytes(), 0);
  EXPECT_FALSE(parameters[0].weight.present());
}

TEST(BucketSet, SlicesOfAllRanksTileABucket) {
  auto parameters = network();
  for (const int world_size : kWorldSizes) {
    auto buckets = plan_buckets(pointers(parameters), DType::fp16, world_size, {});
    const Bucket& bucket = buckets.front();
    std::vector<Half> memory(static_cast<std::size_t>(bucket.elements));
    const TensorView flat(memory.data(), DType::fp16, Shape{bucket.elements});
    Half* next = memory.data();
    for (int r = 0; r < world_size; ++r) {
      const TensorView slice = bucket.slice(flat, r, world_size);
      EXPECT_EQ(slice.data<Half>(), next);
      next += slice.elements();
    }
    EXPECT_EQ(next, memory.data() + memory.size());
    EXPECT_THROW(bucket.slice(flat.slice(0, 64), 0, world_size), InvalidArgument);
  }
}

}  // namespace
}  // namespace minim::test

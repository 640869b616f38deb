#include "minim/runtime/shape.h"

#include <gtest/gtest.h>

#include <vector>

#include "minim/runtime/error.h"

namespace minim {
namespace {

constexpr std::int64_t kHuge = std::int64_t{1} << 40U;

TEST(Shape, CountsElements) {
  EXPECT_EQ(Shape().elements(), 1);
  EXPECT_EQ(Shape({7}).elements(), 7);
  EXPECT_EQ(Shape({2, 3, 4}).elements(), 24);
  EXPECT_EQ(Shape({2, 3, 4}).elements_per_sample(), 12);
  EXPECT_EQ(Shape({7}).elements_per_sample(), 1);
  EXPECT_THROW(Shape().elements_per_sample(), InvalidArgument);
}

TEST(Shape, IsEmptyWithOneEmptyDimension) {
  EXPECT_EQ(Shape({0, 3}).elements(), 0);
  EXPECT_EQ(Shape({0, 3}).elements_per_sample(), 3);
  EXPECT_EQ(Shape({kHuge, kHuge, 0}).elements(), 0) << "no overflow on the way";
}

TEST(Shape, RefusesToCountBeyond64Bits) {
  EXPECT_THROW(Shape({kHuge, kHuge}).elements(), InvalidArgument);
  EXPECT_EQ(Shape({kHuge, kHuge}).elements_per_sample(), kHuge);
}

TEST(Shape, CountsFromTheEndWithNegativeIndices) {
  const Shape shape{2, 3, 4};
  EXPECT_EQ(shape[0], 2);
  EXPECT_EQ(shape[2], 4);
  EXPECT_EQ(shape[-1], 4);
  EXPECT_EQ(shape[-3], 2);
  EXPECT_THROW(shape[3], InvalidArgument);
  EXPECT_THROW(shape[-4], InvalidArgument);
}

TEST(Shape, HasNoElementsUntilTheBatchIsKnown) {
  const Shape shape{Shape::kBatch, 28, 28};
  EXPECT_TRUE(shape.has_batch());
  EXPECT_THROW(shape.elements(), InvalidArgument);
  EXPECT_EQ(shape.elements_per_sample(), 784);
  EXPECT_EQ(shape.with_batch(2), Shape({2, 28, 28}));
  EXPECT_FALSE(shape.with_batch(2).has_batch());
  EXPECT_EQ(shape.with_batch(0).elements(), 0);
  EXPECT_THROW(shape.with_batch(-1), InvalidArgument);
}

TEST(Shape, IsMadeOfAtMostSixDimensionsOfNonNegativeSize) {
  EXPECT_EQ(Shape({1, 2, 3, 4, 5, 6}).rank(), 6);
  EXPECT_THROW(Shape({1, 2, 3, 4, 5, 6, 7}), InvalidArgument);
  EXPECT_THROW(Shape({2, -2}), InvalidArgument);
  EXPECT_EQ(Shape(std::vector<std::int64_t>{4, 5}), Shape({4, 5}));
}

TEST(Shape, ComparesRankAndDimensions) {
  EXPECT_EQ(Shape({2, 3}), Shape({2, 3}));
  EXPECT_NE(Shape({2, 3}), Shape({3, 2}));
  EXPECT_NE(Shape({2}), Shape({2, 0}));
}

TEST(Shape, IsReadable) {
  EXPECT_EQ(Shape({16, 28, 28, 1}).to_string(), "[16, 28, 28, 1]");
  EXPECT_EQ(Shape({Shape::kBatch, 10}).to_string(), "[N, 10]");
  EXPECT_EQ(Shape().to_string(), "[]");
}

}  // namespace
}  // namespace minim

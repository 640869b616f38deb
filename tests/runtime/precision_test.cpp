#include "minim/runtime/precision.h"

#include <gtest/gtest.h>

#include <string>

namespace minim {
namespace {

TEST(Precision, IsReadAsItIsNamed) {
  for (const Precision precision : {Precision::fp32, Precision::mixed, Precision::fp16, Precision::bf16}) {
    EXPECT_EQ(parse_precision(name(precision)), precision);
  }
}

TEST(Precision, NamesTheChoicesWhenItIsNone) {
  try {
    parse_precision("fp8");
    FAIL() << "fp8 was taken for a precision";
  } catch (const InvalidArgument& error) {
    EXPECT_STREQ(error.what(), "precision \"fp8\": fp32, mixed, fp16 or bf16 is wanted");
  }
}

TEST(Precision, KeepsMasterWeightsWhereUpdatesWouldBeLost) {
  EXPECT_FALSE(has_master_weights(Precision::fp32));
  EXPECT_TRUE(has_master_weights(Precision::mixed));
  EXPECT_FALSE(has_master_weights(Precision::fp16));
  EXPECT_TRUE(has_master_weights(Precision::bf16));
}

TEST(Precision, DecidesTheComputeType) {
  EXPECT_EQ(compute_dtype(Precision::fp32), DType::fp32);
  EXPECT_EQ(compute_dtype(Precision::mixed), DType::fp16);
  EXPECT_EQ(compute_dtype(Precision::fp16), DType::fp16);
  EXPECT_EQ(compute_dtype(Precision::bf16), DType::bf16);
}

}  // namespace
}  // namespace minim

#include "minim/runtime/dtype.h"

#include <gtest/gtest.h>

namespace minim {
namespace {

constexpr DType kDTypes[] = {DType::fp32, DType::fp16, DType::bf16, DType::fp64, DType::int32, DType::int64, DType::uint8};

TEST(DType, HasTheNameThatItIsWrittenAs) {
  const char* const wanted[] = {"fp32", "fp16", "bf16", "fp64", "int32", "int64", "uint8"};
  for (std::size_t i = 0; i < std::size(kDTypes); ++i) EXPECT_EQ(name(kDTypes[i]), wanted[i]);
}

template <class T>
void expect_matches_the_c_type() {
  EXPECT_TRUE(kIsElement<T>);
  EXPECT_EQ(size_bytes(kDType<T>), static_cast<std::int64_t>(sizeof(T))) << name(kDType<T>);
}

TEST(DType, HasTheSizeOfItsElement) {
  expect_matches_the_c_type<float>();
  expect_matches_the_c_type<Half>();
  expect_matches_the_c_type<BFloat16>();
  expect_matches_the_c_type<double>();
  expect_matches_the_c_type<std::int32_t>();
  expect_matches_the_c_type<std::int64_t>();
  expect_matches_the_c_type<std::uint8_t>();
  EXPECT_FALSE(kIsElement<char>);
}

TEST(DType, DispatchesFloatingTypesOnly) {
  const auto type_of = [](auto element) { return kDType<decltype(element)>; };
  for (const DType dtype : {DType::fp32, DType::fp16, DType::bf16}) EXPECT_EQ(dispatch_floating(dtype, type_of), dtype);
  for (const DType dtype : {DType::fp64, DType::int32, DType::int64, DType::uint8}) {
    EXPECT_THROW(dispatch_floating(dtype, type_of), InvalidArgument) << name(dtype);
  }
}

}  // namespace
}  // namespace minim

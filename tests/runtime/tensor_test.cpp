#include "minim/runtime/tensor.h"

#include <gtest/gtest.h>

#include <array>

namespace minim {
namespace {

std::shared_ptr<Buffer> borrow(std::span<float> values, bool* released = nullptr) {
  return std::make_shared<Buffer>(values.data(), static_cast<std::int64_t>(values.size_bytes()), MemoryKind::workspace, nullptr,
                                  [released](void*) {
                                    if (released) *released = true;
                                  });
}

TEST(TensorView, TellsAbsentFromEmptyAndFromNotYetPlaced) {
  EXPECT_FALSE(TensorView().present());
  EXPECT_EQ(TensorView().elements(), 0);
  EXPECT_EQ(TensorView().size_bytes(), 0);
  const TensorView empty(nullptr, DType::fp16, {0, 3});
  EXPECT_TRUE(empty.present());
  EXPECT_EQ(empty.elements(), 0);
  const TensorView unplaced(nullptr, DType::fp16, {2, 3});
  EXPECT_TRUE(unplaced.present());
  EXPECT_EQ(unplaced.size_bytes(), 12);
}

TEST(TensorView, GivesItsElementsAsTheirTypeOnly) {
  std::array<float, 4> values{1, 2, 3, 4};
  const TensorView view(values.data(), DType::fp32, {2, 2});
  EXPECT_EQ(view.span<float>()[3], 4);
  EXPECT_THROW(view.data<Half>(), InvalidArgument);
  EXPECT_THROW(ConstTensorView(view).span<double>(), InvalidArgument);
}

TEST(TensorView, SlicesFlatElements) {
  std::array<float, 6> values{0, 1, 2, 3, 4, 5};
  const TensorView view(values.data(), DType::fp32, {2, 3});
  const TensorView middle = view.slice(2, 5);
  EXPECT_EQ(middle.shape(), Shape({3}));
  EXPECT_EQ(middle.data<float>(), &values[2]);
  EXPECT_EQ(view.slice(6, 6).elements(), 0);
  EXPECT_THROW(view.slice(-1, 2), InvalidArgument);
  EXPECT_THROW(view.slice(3, 2), InvalidArgument);
  EXPECT_THROW(view.slice(0, 7), InvalidArgument);
}

TEST(TensorView, ReshapesToAsManyElementsOnly) {
  std::array<float, 6> values{};
  const TensorView view(values.data(), DType::fp32, {2, 3});
  EXPECT_EQ(view.reshaped({3, 2, 1}).shape(), Shape({3, 2, 1}));
  EXPECT_EQ(view.reshaped({6}).data<float>(), values.data());
  EXPECT_THROW(view.reshaped({7}), InvalidArgument);
  EXPECT_THROW(view.reshaped({5}), InvalidArgument);
}

TEST(Tensor, KeepsItsMemoryAliveAcrossCopies) {
  std::array<float, 4> values{};
  bool released = false;
  Tensor copy;
  {
    const Tensor tensor(borrow(values, &released), 0, DType::fp32, {4});
    copy = tensor;
  }
  EXPECT_FALSE(released);
  copy.span<float>()[1] = 7;
  EXPECT_EQ(values[1], 7);
  copy = {};
  EXPECT_TRUE(released);
}

TEST(Tensor, StartsBehindItsOffset) {
  std::array<float, 4> values{0, 1, 2, 3};
  const Tensor tensor(borrow(values), 8, DType::fp32, {2});
  EXPECT_EQ(tensor.span<float>()[0], 2);
}

TEST(Tensor, FitsIntoItsBuffer) {
  std::array<float, 4> values{};
  EXPECT_NO_THROW(Tensor(borrow(values), 16, DType::fp32, {0}));
  EXPECT_THROW(Tensor(borrow(values), 0, DType::fp32, {5}), InvalidArgument);
  EXPECT_THROW(Tensor(borrow(values), 4, DType::fp32, {4}), InvalidArgument);
  EXPECT_THROW(Tensor(borrow(values), -4, DType::fp32, {1}), InvalidArgument);
  EXPECT_THROW(Tensor(nullptr, 0, DType::fp32, {1}), InvalidArgument);
}

TEST(Tensor, IsAbsentByDefault) {
  const Tensor tensor;
  EXPECT_FALSE(tensor.view().present());
  EXPECT_EQ(tensor.elements(), 0);
}

}  // namespace
}  // namespace minim

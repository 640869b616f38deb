#include "onednn/implementations.h"

#include <gtest/gtest.h>

#include <string>

namespace minim {
namespace {

/// A square convolution, and over how many images.
struct Layer {
  std::int64_t samples, size, channels, outputs, kernel, stride, pad;
};

// Where a layer occurs with several input widths, the ends are listed.
constexpr Layer kLayers[] = {
    // lenet, 28 pixels
    {64, 28, 1, 6, 5, 1, 2},
    {64, 28, 1, 20, 5, 1, 0},
    {64, 28, 1, 32, 5, 1, 2},
    {64, 14, 6, 16, 5, 1, 0},
    {64, 12, 20, 50, 5, 1, 0},
    {64, 14, 32, 64, 5, 1, 2},
    // resnet-18 of width 16, 28 and 32 pixels
    {64, 28, 1, 16, 3, 1, 1},
    {64, 32, 3, 16, 3, 1, 1},
    {64, 28, 16, 16, 3, 1, 1},
    {64, 28, 16, 32, 3, 2, 1},
    {64, 28, 16, 32, 1, 2, 0},
    {64, 14, 32, 64, 3, 2, 1},
    {64, 14, 32, 64, 1, 2, 0},
    {64, 7, 64, 64, 3, 1, 1},
    {64, 7, 64, 128, 3, 2, 1},
    {64, 7, 64, 128, 1, 2, 0},
    {64, 4, 128, 128, 3, 1, 1},
    // width 1 and odd batches
    {7, 28, 1, 1, 3, 1, 1},
    {7, 28, 1, 2, 3, 2, 1},
    {1, 28, 2, 2, 1, 2, 0},
    // resnet-18 and resnet-50, 224 pixels
    {16, 224, 3, 64, 7, 2, 3},
    {16, 56, 64, 64, 1, 1, 0},
    {16, 56, 64, 64, 3, 1, 1},
    {16, 56, 64, 128, 3, 2, 1},
    {16, 56, 64, 128, 1, 2, 0},
    {16, 56, 64, 256, 1, 1, 0},
    {16, 56, 256, 64, 1, 1, 0},
    {16, 56, 256, 128, 1, 1, 0},
    {16, 56, 128, 128, 3, 2, 1},
    {16, 28, 128, 128, 3, 1, 1},
    {16, 56, 256, 512, 1, 2, 0},
    {16, 28, 256, 256, 3, 2, 1},
    {16, 14, 256, 256, 3, 1, 1},
    {16, 14, 256, 1024, 1, 1, 0},
    {16, 28, 512, 1024, 1, 2, 0},
    {16, 14, 512, 512, 3, 2, 1},
    {16, 7, 512, 512, 3, 1, 1},
    {16, 7, 512, 2048, 1, 1, 0},
    {16, 14, 1024, 2048, 1, 2, 0}};

constexpr std::int64_t kFullyConnected[][3] = {{64, 400, 120},  {64, 800, 500},   {64, 84, 10}, {64, 128, 10},
                                               {16, 512, 1000}, {16, 2048, 1000}, {1, 2048, 10}};

template <class Args>
void expect_no_reference(const Args& args, int threads) {
  for (const std::string& implementation : onednn::implementations(args, threads)) {
    EXPECT_EQ(implementation.find("ref"), std::string::npos) << implementation;
  }
}

void check(const Layer& l, DType dtype, int threads) {
  const std::int64_t out = conv_output_size(l.size, l.kernel, l.stride, 2 * l.pad, 1);
  const TensorView x(nullptr, dtype, {l.samples, l.size, l.size, l.channels}),
      y(nullptr, dtype, {l.samples, out, out, l.outputs});
  const TensorView w(nullptr, dtype, {l.outputs, l.kernel, l.kernel, l.channels}), bias(nullptr, dtype, {l.outputs});
  const Conv2dGeometry geometry{
      .stride_h = l.stride, .stride_w = l.stride, .pad_top = l.pad, .pad_left = l.pad, .pad_bottom = l.pad, .pad_right = l.pad};
  expect_no_reference(Conv2dForward{.x = x, .w = w, .bias = bias, .y = y, .geometry = geometry, .workspace = {}}, threads);
  expect_no_reference(Conv2dBackwardData{.dy = y, .w = w, .dx = x, .geometry = geometry, .workspace = {}}, threads);
  expect_no_reference(Conv2dBackwardWeights{.x = x, .dy = y, .dw = w, .dbias = bias, .geometry = geometry, .workspace = {}},
                      threads);
}

TEST(OnednnImplementations, ConvolutionsOfTheZooNeverFallToOnednnsReferenceLoops) {
  for (const DType dtype : {DType::fp32, DType::fp16, DType::bf16}) {
    for (const Layer& l : kLayers) {
      for (const int threads : {1, 2}) {
        SCOPED_TRACE(std::string(name(dtype)) + ", " + std::to_string(l.size) + " pixels, " + std::to_string(l.channels) +
                     " to " + std::to_string(l.outputs) + " channels, " + std::to_string(threads) + " threads");
        check(l, dtype, threads);
      }
    }
  }
}

TEST(OnednnImplementations, ProductsOfTheZooNeverFallToOnednnsReferenceLoops) {
  for (const DType dtype : {DType::fp32, DType::fp16, DType::bf16}) {
    for (const auto& [samples, inputs, outputs] : kFullyConnected) {
      SCOPED_TRACE(std::string(name(dtype)) + ", " + std::to_string(inputs) + " to " + std::to_string(outputs));
      const TensorView x(nullptr, dtype, {samples, inputs}), w(nullptr, dtype, {outputs, inputs}),
          y(nullptr, dtype, {samples, outputs});
      const TensorView bias(nullptr, dtype, {outputs});
      expect_no_reference(LinearForward{.x = x, .w = w, .bias = bias, .y = y, .workspace = {}}, 1);
      expect_no_reference(LinearBackwardData{.dy = y, .w = w, .dx = x, .workspace = {}}, 1);
      expect_no_reference(LinearBackwardWeights{.x = x, .dy = y, .dw = w, .dbias = bias, .workspace = {}}, 1);
    }
  }
}

}  // namespace
}  // namespace minim

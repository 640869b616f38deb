#pragma once

#include <span>

#include "onednn/convolution_plan.h"

/// How the tensors of a convolution reach its primitive, and its results the tensors.
namespace minim::onednn {

/// Images that the primitive reads.
class ImageReader {
 public:
  ImageReader(ConstTensorView images, const ConvolutionPlan& plan, float* scratch);
  /// Where chunk `i` lies for the primitive; valid until the next call.
  const void* chunk(std::int64_t i) const;

 private:
  ConstTensorView images_;
  std::int64_t chunk_elements_;
  float* scratch_;  // null: in place
};

/// Images that the primitive writes.
class ImageWriter {
 public:
  ImageWriter(TensorView images, const ConvolutionPlan& plan, float* scratch, Activation activation);
  /// Where the primitive is to put a chunk.
  void* target() const;
  /// Rounds what the primitive put there into chunk `i`, and applies the activation.
  void store(std::int64_t i) const;

 private:
  TensorView images_;
  std::int64_t chunk_elements_;
  float* scratch_;
  Activation activation_;
};

/// Weights that the primitive reads, and the bias.
class WeightReader {
 public:
  WeightReader(ConstTensorView w, ConstTensorView bias, const ConvolutionPlan& plan, TensorView workspace);
  const void* weights();
  const void* bias() const;  ///< in FP32; null when absent

 private:
  ConstTensorView w_, bias_;
  TensorView plain_;  // absent: w_ has the primitive's type
  void* packed_;      // null: the primitive takes our layout
  TensorView bias_scratch_;
  BoundPrimitive repacking_;
};

/// Weight and bias gradients that the primitive writes chunk by chunk.
class GradientWriter {
 public:
  GradientWriter(TensorView dw, TensorView dbias, const ConvolutionPlan& plan, TensorView workspace, bool accumulate);
  // Where the primitive is to put the gradients of chunk `i`. The bias is null when absent.
  void* weights(std::int64_t i) const;
  void* bias(std::int64_t i) const;
  /// Adds what the primitive put there to the chunks before.
  void add(std::int64_t i) const;
  /// Rounds the sums into the tensors.
  void store();

 private:
  TensorView dw_, dbias_;
  std::span<float> packed_, packed_sum_, plain_, bias_, bias_sum_;  // empty: not needed
  bool accumulate_;
  bool repacked_;
  BoundPrimitive repacking_;
};

}  // namespace minim::onednn

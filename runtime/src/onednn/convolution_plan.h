#pragma once

#include <string>

#include "convolution_problem.h"
#include "onednn/primitive.h"
#include "workspace.h"

namespace minim::onednn {

/// Which DNNL_ARG_* a convolution's tensors are in a pass.
struct ConvolutionArguments {
  int x, w, y, bias;
};
ConvolutionArguments arguments_of(ConvolutionPass pass);

/// How a convolution is computed: `chunks` runs of one primitive on `chunk_samples` images, and where its scratch lies.
///
/// Images in the primitive's own type are used in place, all at once. Others pass through scratch in chunks that fit the L2
/// caches, so that conversion costs no memory traffic: over all ResNet-50 shapes 0.95 of the time of convolutions on FP32,
/// converted as a whole 1.08. The last chunk may be short; its scratch is filled up with zero images.
struct ConvolutionPlan {
  DType compute = DType::fp32;  ///< of the primitive's images and, but for weight gradients, weights
  std::int64_t chunk_samples = 0;
  std::int64_t chunks = 0;
  dnnl::primitive_desc_base primitive;
  dnnl::primitive_desc_base repacking;  ///< of weights into the primitive's layout, or gradients out of it; null: it is ours
  dnnl::memory::desc plain_weights;     ///< our layout, in the type of the primitive's weights
  dnnl::memory::desc packed_weights;    ///< the primitive's layout

  Region x, y;           ///< one chunk, when not in place
  Region plain, packed;  ///< weights, or weight gradients of one chunk, when not in place
  Region packed_sum;     ///< weight gradients over chunks, when there are several
  Region bias;           ///< in FP32; as the weights
  Region bias_sum;
  Region scratchpad;
  std::int64_t workspace_bytes = 0;

  bool in_place(DType storage) const { return storage == compute; }
  std::string implementation() const { return primitive.impl_info_str(); }
};

/// A plan for streams of `threads` OpenMP threads. The problem is not empty.
ConvolutionPlan plan_convolution(const ConvolutionProblem& problem, int threads);

}  // namespace minim::onednn

#include "cuda/cudnn/convolution_plan.h"

#include <fmt/format.h>

#include <array>

#include "minim/runtime/cuda.h"

namespace minim::cuda::cudnn {
namespace {

using Extents = std::array<std::int64_t, 4>;
using Pair = std::array<std::int64_t, 2>;

/// Engines for weight gradients that break the rules without a note that says so, as cuDNN 9.19 on sm_90 showed by sums that FP32
/// holds exactly: one rounds in between in every type, the other adds parts of its sums in BF16.
constexpr std::int64_t kRefusedWeightGradients[] = {17, 47};

/// Not in memory: the result of one operation and the operand of another.
constexpr std::int64_t kVirtual = 100;

template <std::size_t kCount>
std::span<const std::int64_t> list(const std::array<std::int64_t, kCount>& values) {
  return values;
}

cudnnDataType_t data_type(DType dtype) {
  switch (dtype) {
    case DType::fp32: return CUDNN_DATA_FLOAT;
    case DType::fp16: return CUDNN_DATA_HALF;
    case DType::bf16: return CUDNN_DATA_BFLOAT16;
    default: throw InvalidArgument("a convolution of fp32, fp16 or bf16 was given another element type");
  }
}

/// `shape` is [N, H, W, C] in memory; cuDNN names the extents in the order N, C, H, W.
Descriptor tensor(std::int64_t id, const Shape& shape, DType dtype) {
  const Extents extents{shape[0], shape[3], shape[1], shape[2]};
  const Extents strides{shape[1] * shape[2] * shape[3], 1, shape[2] * shape[3], shape[3]};
  Descriptor tensor(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  return tensor.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, id)
      .set(CUDNN_ATTR_TENSOR_DATA_TYPE, data_type(dtype))
      .set(CUDNN_ATTR_TENSOR_DIMENSIONS, list(extents))
      .set(CUDNN_ATTR_TENSOR_STRIDES, list(strides))
      .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, kTensorAlignmentBytes)
      .set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, id == kVirtual)
      .finalize();
}

Descriptor window(const Conv2dGeometry& geometry) {
  Descriptor window(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  return window.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, std::int64_t{2})
      .set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT)
      .set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_CROSS_CORRELATION)
      .set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, list(Pair{geometry.pad_top, geometry.pad_left}))
      .set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, list(Pair{geometry.pad_bottom, geometry.pad_right}))
      .set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, list(Pair{geometry.stride_h, geometry.stride_w}))
      .set(CUDNN_ATTR_CONVOLUTION_DILATIONS, list(Pair{geometry.dilation_h, geometry.dilation_w}))
      .finalize();
}

Descriptor forward(const ConvolutionProblem& problem, const Descriptor& y) {
  Descriptor operation(CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
  return operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, window(problem.geometry))
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, tensor(kX, problem.x, problem.storage))
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, tensor(kW, problem.w, problem.storage))
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, y)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, 1.0F)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, 0.0F)
      .finalize();
}

Descriptor backward_data(const ConvolutionProblem& problem) {
  Descriptor operation(CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR);
  return operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC, window(problem.geometry))
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, tensor(kX, problem.x, problem.storage))
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W, tensor(kW, problem.w, problem.storage))
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, tensor(kY, problem.y, problem.storage))
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, 1.0F)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA, 0.0F)
      .finalize();
}

Descriptor backward_weights(const ConvolutionProblem& problem) {
  Descriptor operation(CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR);
  return operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC, window(problem.geometry))
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, tensor(kX, problem.x, problem.storage))
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW, tensor(kW, problem.w, problem.storage))
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY, tensor(kY, problem.y, problem.storage))
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, 1.0F)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA, problem.accumulate ? 1.0F : 0.0F)
      .finalize();
}

/// y = sum + bias.
Descriptor add_bias(const ConvolutionProblem& problem, const Descriptor& sum) {
  Descriptor addition(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  addition.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_POINTWISE_ADD).set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT).finalize();
  Descriptor operation(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  return operation.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, addition)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, sum)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, tensor(kBias, {1, 1, 1, problem.y[3]}, problem.storage))
      .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, tensor(kY, problem.y, problem.storage))
      .finalize();
}

std::vector<Descriptor> operations(const ConvolutionProblem& problem) {
  switch (problem.pass) {
    case ConvolutionPass::forward: break;
    case ConvolutionPass::backward_data: return {backward_data(problem)};
    case ConvolutionPass::backward_weights: return {backward_weights(problem)};
  }
  if (!problem.has_bias) return {forward(problem, tensor(kY, problem.y, problem.storage))};
  const Descriptor sum = tensor(kVirtual, problem.y, DType::fp32);
  return {forward(problem, sum), add_bias(problem, sum)};
}

}  // namespace

std::string describe(const ConvolutionProblem& problem) {
  constexpr std::string_view kPasses[] = {"convolution", "data gradient", "weight gradient"};
  const Conv2dGeometry& g = problem.geometry;
  return fmt::format("{} of {}, x {}, w {}, y {}, stride {} x {}, padding {} {} {} {}, dilation {} x {}{}{}",
                     kPasses[static_cast<int>(problem.pass)], name(problem.storage), problem.x.to_string(), problem.w.to_string(),
                     problem.y.to_string(), g.stride_h, g.stride_w, g.pad_top, g.pad_left, g.pad_bottom, g.pad_right,
                     g.dilation_h, g.dilation_w, problem.has_bias ? ", with bias" : "", problem.accumulate ? ", added" : "");
}

std::vector<Plan> plans_of_convolution(const ConvolutionProblem& problem, const DeviceProperties& device, std::size_t most,
                                       const std::string& choice) {
  try {
    Descriptor graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, std::span<const Descriptor>(operations(problem))).finalize();
    PlanRules rules{.tensor_cores = problem.storage != DType::fp32, .most_workspace_bytes = kMostCudaWorkspaceBytes};
    if (problem.pass == ConvolutionPass::backward_weights) rules.refused_engines = kRefusedWeightGradients;
    return make_plans(graph, device, rules, most, choice);
  } catch (const DeviceError& error) {
    throw DeviceError(fmt::format("{}: {}", describe(problem), error.what()));
  }
}

Plan plan_convolution(const ConvolutionProblem& problem, const DeviceProperties& device) {
  return plans_of_convolution(problem, device, 1).front();
}

}  // namespace minim::cuda::cudnn

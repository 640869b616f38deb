#include "cudnn/interpreter.h"

#include <string>

#include "kernel_work.h"
#include "minim/runtime/kernels/convolution.h"

namespace cudnn_double {
namespace {

using minim::ConstTensorView;
using minim::Conv2dGeometry;
using minim::DType;
using minim::Shape;
using minim::TensorView;

[[noreturn]] void refuse(const std::string& what) {
  double_refuse(("cuDNN is given " + what + ", which this double does not compute").c_str());
}

DType dtype_of(const Record& tensor) {
  switch (tensor.value<cudnnDataType_t>(CUDNN_ATTR_TENSOR_DATA_TYPE)) {
    case CUDNN_DATA_FLOAT: return DType::fp32;
    case CUDNN_DATA_HALF: return DType::fp16;
    case CUDNN_DATA_BFLOAT16: return DType::bf16;
    default: refuse("a tensor of another type than FP32, FP16 and BF16");
  }
}

std::int64_t id_of(const Record& tensor) { return tensor.value<std::int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID); }
bool is_virtual(const Record& tensor) {
  return tensor.attributes.contains(CUDNN_ATTR_TENSOR_IS_VIRTUAL) && tensor.value<bool>(CUDNN_ATTR_TENSOR_IS_VIRTUAL);
}

/// [N, H, W, C] of a dense tensor that is stored so.
Shape shape_of(const Record& tensor) {
  const auto extents = tensor.list<std::int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS);
  if (extents.size() != 4) refuse("a tensor of another rank than 4");
  const Shape shape{extents[0], extents[2], extents[3], extents[1]};
  const std::vector<std::int64_t> dense{shape[1] * shape[2] * shape[3], 1, shape[2] * shape[3], shape[3]};
  if (tensor.list<std::int64_t>(CUDNN_ATTR_TENSOR_STRIDES) != dense) refuse("a tensor that is not stored densely as NHWC");
  return shape;
}

/// Tensors of a graph in the program's memory.
class Memory {
 public:
  explicit Memory(const Addresses& addresses) : addresses_(addresses) {}

  TensorView of(const Record& tensor) const {
    const std::string name = "tensor " + std::to_string(id_of(tensor));
    if (is_virtual(tensor)) refuse("a graph whose " + name + " is virtual");
    const auto found = addresses_.find(id_of(tensor));
    if (found == addresses_.end()) double_refuse(("cuDNN is to execute a plan, but is not told where " + name + " lies").c_str());
    const auto alignment = tensor.value<std::int64_t>(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT);
    if (reinterpret_cast<std::uintptr_t>(found->second) % static_cast<std::uintptr_t>(alignment) != 0) {
      double_refuse(("cuDNN finds " + name + " less aligned than its descriptor says").c_str());
    }
    const TensorView view(found->second, dtype_of(tensor), shape_of(tensor));
    doubles::check_on_device("cudnnBackendExecute", view);
    return view;
  }
  TensorView of(const Record& operation, cudnnBackendAttributeName_t name) const { return of(operation.descriptor(name)); }

 private:
  const Addresses& addresses_;
};

Conv2dGeometry geometry_of(const Record& window, const ConstTensorView& x, const ConstTensorView& w) {
  if (window.value<cudnnConvolutionMode_t>(CUDNN_ATTR_CONVOLUTION_CONV_MODE) != CUDNN_CROSS_CORRELATION ||
      window.value<cudnnDataType_t>(CUDNN_ATTR_CONVOLUTION_COMP_TYPE) != CUDNN_DATA_FLOAT) {
    refuse("a convolution that is not a cross-correlation in FP32");
  }
  const auto before = window.list<std::int64_t>(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS);
  const auto after = window.list<std::int64_t>(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS);
  const auto strides = window.list<std::int64_t>(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES);
  const auto dilations = window.list<std::int64_t>(CUDNN_ATTR_CONVOLUTION_DILATIONS);
  return {.stride_h = strides.at(0),
          .stride_w = strides.at(1),
          .pad_top = before.at(0),
          .pad_left = before.at(1),
          .pad_bottom = after.at(0),
          .pad_right = after.at(1),
          .dilation_h = dilations.at(0),
          .dilation_w = dilations.at(1),
          .groups = x.shape()[3] / w.shape()[3]};
}

void check_factors(const Record& operation, cudnnBackendAttributeName_t alpha, cudnnBackendAttributeName_t beta, bool may_add) {
  const float of_old = operation.value<float>(beta);
  if (operation.value<float>(alpha) == 1 && (of_old == 0 || (may_add && of_old == 1))) return;
  refuse("a convolution with factors other than 1 and 0");
}

std::function<void()> forward(const Record& operation, const Record* bias, const TensorView& y, const Memory& memory) {
  check_factors(operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, false);
  minim::Conv2dForward args{.x = memory.of(operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X),
                            .w = memory.of(operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W),
                            .y = y};
  args.geometry = geometry_of(operation.descriptor(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC), args.x, args.w);
  if (bias != nullptr) args.bias = memory.of(*bias).reshaped({y.shape()[3]});
  return [args] { doubles::run_kernel(args); };
}

/// y = convolution + bias.
std::function<void()> forward_with_bias(const Record& operation, const Record& addition, const Memory& memory) {
  const auto mode =
      addition.descriptor(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR).value<cudnnPointwiseMode_t>(CUDNN_ATTR_POINTWISE_MODE);
  const Record& sum = operation.descriptor(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y);
  const Record& addend = addition.descriptor(CUDNN_ATTR_OPERATION_POINTWISE_XDESC);
  if (mode != CUDNN_POINTWISE_ADD || id_of(sum) != id_of(addend) || !is_virtual(sum) || dtype_of(sum) != DType::fp32) {
    refuse("a graph of two operations that is no convolution with a bias");
  }
  return forward(operation, &addition.descriptor(CUDNN_ATTR_OPERATION_POINTWISE_BDESC),
                 memory.of(addition, CUDNN_ATTR_OPERATION_POINTWISE_YDESC), memory);
}

std::function<void()> backward_data(const Record& operation, const Memory& memory) {
  check_factors(operation, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA,
                false);
  minim::Conv2dBackwardData args{.dy = memory.of(operation, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY),
                                 .w = memory.of(operation, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W),
                                 .dx = memory.of(operation, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX)};
  args.geometry = geometry_of(operation.descriptor(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC), args.dx, args.w);
  return [args] { doubles::run_kernel(args); };
}

std::function<void()> backward_weights(const Record& operation, const Memory& memory) {
  check_factors(operation, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA,
                true);
  minim::Conv2dBackwardWeights args{.x = memory.of(operation, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X),
                                    .dy = memory.of(operation, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY),
                                    .dw = memory.of(operation, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW)};
  args.accumulate = operation.value<float>(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA) == 1;
  args.geometry = geometry_of(operation.descriptor(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC), args.x, args.dw);
  return [args] { doubles::run_kernel(args); };
}

}  // namespace

std::function<void()> work_of(const Record& graph, const Addresses& addresses) {
  const Memory memory(addresses);
  const auto& operations = graph.at(CUDNN_ATTR_OPERATIONGRAPH_OPS).descriptors;
  const Record& first = *operations.at(0);
  if (operations.size() == 2 && first.type == CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR &&
      operations[1]->type == CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR) {
    return forward_with_bias(first, *operations[1], memory);
  }
  if (operations.size() != 1) refuse("a graph of " + std::to_string(operations.size()) + " operations");
  switch (first.type) {
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR:
      return forward(first, nullptr, memory.of(first, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y), memory);
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR: return backward_data(first, memory);
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR: return backward_weights(first, memory);
    default: refuse("an operation of type " + std::to_string(first.type));
  }
}

}  // namespace cudnn_double

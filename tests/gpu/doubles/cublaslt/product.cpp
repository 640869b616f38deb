#include "cublaslt/product.h"

#include <string>

#include "kernel_work.h"
#include "minim/runtime/kernels/linear.h"

namespace cublaslt_double {
namespace {

using minim::DType;
using minim::Shape;
using minim::TensorView;

[[noreturn]] void refuse(const std::string& what) {
  double_refuse(("cuBLASLt is given " + what + ", which this double does not compute").c_str());
}

template <class T>
T get(cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t name) {
  T value{};
  std::size_t written = 0;
  cublasLtMatmulDescGetAttribute(operation, name, &value, sizeof value, &written);
  return value;
}
template <class T>
T get(cublasLtMatrixLayout_t layout, cublasLtMatrixLayoutAttribute_t name) {
  T value{};
  std::size_t written = 0;
  cublasLtMatrixLayoutGetAttribute(layout, name, &value, sizeof value, &written);
  return value;
}

DType dtype_of(cublasLtMatrixLayout_t layout) {
  switch (static_cast<cudaDataType_t>(get<std::uint32_t>(layout, CUBLASLT_MATRIX_LAYOUT_TYPE))) {
    case CUDA_R_32F: return DType::fp32;
    case CUDA_R_16F: return DType::fp16;
    case CUDA_R_16BF: return DType::bf16;
    default: refuse("a matrix of another type than FP32, FP16 and BF16");
  }
}

/// Of a dense column-major matrix, as row-major. The setters take any number, so they are looked at here.
Shape shape_of(cublasLtMatrixLayout_t layout) {
  const auto rows = get<std::uint64_t>(layout, CUBLASLT_MATRIX_LAYOUT_ROWS);
  const auto columns = get<std::uint64_t>(layout, CUBLASLT_MATRIX_LAYOUT_COLS);
  const bool dense = get<std::int64_t>(layout, CUBLASLT_MATRIX_LAYOUT_LD) == static_cast<std::int64_t>(rows) &&
                     get<std::int32_t>(layout, CUBLASLT_MATRIX_LAYOUT_ORDER) == CUBLASLT_ORDER_COL &&
                     get<std::int32_t>(layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT) == 1;
  if (!dense || rows == 0 || columns == 0) refuse("a matrix that is empty, or not dense and column-major");
  return {static_cast<std::int64_t>(columns), static_cast<std::int64_t>(rows)};
}

bool transposes(cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t name) {
  return get<std::int32_t>(operation, name) == CUBLAS_OP_T;
}

bool adds_bias_of(cublasLtMatmulDesc_t operation) {
  const auto epilogue = get<std::uint32_t>(operation, CUBLASLT_MATMUL_DESC_EPILOGUE);
  if (epilogue != CUBLASLT_EPILOGUE_DEFAULT && epilogue != CUBLASLT_EPILOGUE_BIAS) refuse("an epilogue that is no bias");
  return epilogue == CUBLASLT_EPILOGUE_BIAS;
}

void check_bias_type(cublasLtMatmulDesc_t operation, DType dtype) {
  const std::int32_t wanted = dtype == DType::fp32 ? CUDA_R_32F : dtype == DType::fp16 ? CUDA_R_16F : CUDA_R_16BF;
  if (get<std::int32_t>(operation, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE) == wanted) return;
  refuse("a bias of another type than the matrices");
}

TensorView at(const void* data, DType dtype, const Shape& shape) {
  const TensorView view(const_cast<void*>(data), dtype, shape);
  doubles::check_on_device("cublasLtMatmul", view);
  return view;
}

}  // namespace

Product::Product(const Descriptors& descriptors)
    : dtype(dtype_of(descriptors.d)),
      right(shape_of(descriptors.a)),
      left(shape_of(descriptors.b)),
      result(shape_of(descriptors.d)),
      right_transposed(transposes(descriptors.operation, CUBLASLT_MATMUL_DESC_TRANSA)),
      left_transposed(transposes(descriptors.operation, CUBLASLT_MATMUL_DESC_TRANSB)),
      adds_bias(adds_bias_of(descriptors.operation)),
      bias(adds_bias ? get<const void*>(descriptors.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER) : nullptr) {
  if (adds_bias) check_bias_type(descriptors.operation, dtype);
  if (get<std::int32_t>(descriptors.operation, CUBLASLT_MATMUL_DESC_COMPUTE_TYPE) != CUBLAS_COMPUTE_32F ||
      get<std::int32_t>(descriptors.operation, CUBLASLT_MATMUL_DESC_SCALE_TYPE) != CUDA_R_32F) {
    refuse("a product that is not computed in FP32");
  }
  if (dtype_of(descriptors.a) != dtype || dtype_of(descriptors.b) != dtype || dtype_of(descriptors.c) != dtype) {
    refuse("matrices of several types");
  }
  const std::int64_t rows = left[left_transposed ? 1 : 0], summed = left[left_transposed ? 0 : 1];
  const std::int64_t columns = right[right_transposed ? 0 : 1];
  if (right[right_transposed ? 1 : 0] != summed || result != Shape{rows, columns} || shape_of(descriptors.c) != result) {
    refuse("matrices whose extents do not fit: " + left.to_string() + " and " + right.to_string() + " for " + result.to_string());
  }
}

std::function<void()> Product::work(const void* right_data, const void* left_data, void* result_data, float beta) const {
  const TensorView r = at(right_data, dtype, right), l = at(left_data, dtype, left), c = at(result_data, dtype, result);
  if (beta != 0 && beta != 1) refuse("a factor of the old result other than 0 and 1");
  if (right_transposed && !left_transposed && beta == 0) {
    minim::LinearForward args{.x = l, .w = r, .y = c};
    if (adds_bias) args.bias = at(bias, dtype, {result[1]});
    return [args] { doubles::run_kernel(args); };
  }
  if (adds_bias) refuse("a bias that is not added to a linear layer's output");
  if (!right_transposed && !left_transposed && beta == 0) {
    return [args = minim::LinearBackwardData{.dy = l, .w = r, .dx = c}] { doubles::run_kernel(args); };
  }
  if (right_transposed || !left_transposed) refuse("a product that is none of a linear layer's");
  return [args = minim::LinearBackwardWeights{.x = r, .dy = l, .dw = c, .accumulate = beta == 1}] { doubles::run_kernel(args); };
}

}  // namespace cublaslt_double

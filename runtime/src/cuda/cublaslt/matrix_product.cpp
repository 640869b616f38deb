#include "cuda/cublaslt/matrix_product.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "cuda/cuda_stream.h"
#include "minim/runtime/error.h"

namespace minim::cuda::cublaslt {
namespace {

/// What is known of the alignment of matrices before they have an address.
constexpr std::uint32_t kAlignmentBytes = 16;

cudaDataType_t data_type(DType dtype) {
  switch (dtype) {
    case DType::fp32: return CUDA_R_32F;
    case DType::fp16: return CUDA_R_16F;
    case DType::bf16: return CUDA_R_16BF;
    default: throw InvalidArgument("a matrix product of fp32, fp16 or bf16 was given another element type");
  }
}

/// Owns one of cuBLASLt's descriptors.
template <class Handle, auto kDestroy>
using Owned = std::unique_ptr<std::remove_pointer_t<Handle>, decltype([](Handle handle) { kDestroy(handle); })>;
using Description = Owned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using Layout = Owned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using Preference = Owned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

template <class T>
void set(const Description& description, cublasLtMatmulDescAttributes_t name, T value) {
  check(cublasLtMatmulDescSetAttribute(description.get(), name, &value, sizeof value), "cublasLtMatmulDescSetAttribute");
}
template <class T>
void set(const Preference& preference, cublasLtMatmulPreferenceAttributes_t name, T value) {
  check(cublasLtMatmulPreferenceSetAttribute(preference.get(), name, &value, sizeof value),
        "cublasLtMatmulPreferenceSetAttribute");
}

/// Products in FP32, on Tensor Cores where the operands are narrower.
Description describe(const ProductProblem& problem, const void* bias) {
  cublasLtMatmulDesc_t raw = nullptr;
  check(cublasLtMatmulDescCreate(&raw, CUBLAS_COMPUTE_32F, CUDA_R_32F), "cublasLtMatmulDescCreate");
  Description description(raw);
  set(description, CUBLASLT_MATMUL_DESC_TRANSA, problem.b_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(description, CUBLASLT_MATMUL_DESC_TRANSB, problem.a_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
  if (problem.has_bias) {
    set(description, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    set(description, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, data_type(problem.storage));
    set(description, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
  }
  return description;
}

/// A row-major [rows, columns] matrix, which to cuBLASLt is a column-major [columns, rows] one.
Layout layout(DType dtype, std::int64_t rows, std::int64_t columns) {
  cublasLtMatrixLayout_t raw = nullptr;
  check(cublasLtMatrixLayoutCreate(&raw, data_type(dtype), static_cast<std::uint64_t>(columns), static_cast<std::uint64_t>(rows),
                                   columns),
        "cublasLtMatrixLayoutCreate");
  return Layout(raw);
}

/// Bytes that the address is a multiple of, as far as it matters.
std::uint32_t alignment_of(const ConstTensorView& view) {
  const auto address = reinterpret_cast<std::uintptr_t>(view.raw());
  return static_cast<std::uint32_t>(std::min<std::uintptr_t>(address & -address, 256));
}

struct Alignments {
  std::uint32_t a = kAlignmentBytes, b = kAlignmentBytes, c = kAlignmentBytes;
};

/// A product as cuBLASLt sees it: c^T = b^T a^T, column-major.
class Product {
 public:
  Product(const Library& library, const ProductProblem& problem, const void* bias, const Alignments& alignments,
          std::int64_t most_workspace_bytes)
      : description_(describe(problem, bias)),
        a_(problem.a_transposed ? layout(problem.storage, problem.k, problem.m) : layout(problem.storage, problem.m, problem.k)),
        b_(problem.b_transposed ? layout(problem.storage, problem.n, problem.k) : layout(problem.storage, problem.k, problem.n)),
        c_(layout(problem.storage, problem.m, problem.n)),
        beta_(problem.accumulate ? 1.0F : 0.0F) {
    choose(library, problem, alignments, most_workspace_bytes);
  }

  std::int64_t workspace_bytes() const { return static_cast<std::int64_t>(choice_.workspaceSize); }

  void enqueue(const Library& library, const ProductOperands& operands, void* workspace, cudaStream_t stream) const {
    constexpr float kAlpha = 1;
    check(cublasLtMatmul(library.handle(), description_.get(), &kAlpha, operands.b.raw(), b_.get(), operands.a.raw(), a_.get(),
                         &beta_, operands.c.raw(), c_.get(), operands.c.raw(), c_.get(), &choice_.algo, workspace,
                         choice_.workspaceSize, stream),
          "cublasLtMatmul");
  }

 private:
  void choose(const Library& library, const ProductProblem& problem, const Alignments& alignments,
              std::int64_t most_workspace_bytes) {
    cublasLtMatmulPreference_t raw = nullptr;
    check(cublasLtMatmulPreferenceCreate(&raw), "cublasLtMatmulPreferenceCreate");
    const Preference preference(raw);
    set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<std::uint64_t>(most_workspace_bytes));
    // Sums may be split into parts that are kept in FP32 and added in one order; other schemes round the parts to the type of c.
    // Where a bias or old values are added, not even so: on sm_90, cuBLASLt 13 rounded the sum before it added a bias.
    const auto scheme =
        problem.has_bias || problem.accumulate ? CUBLASLT_REDUCTION_SCHEME_NONE : CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, static_cast<std::uint32_t>(scheme));
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignments.b);
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignments.a);
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignments.c);
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignments.c);
    int found = 0;
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(library.handle(), description_.get(), b_.get(), a_.get(),
                                                                 c_.get(), c_.get(), preference.get(), 1, &choice_, &found);
    if (status == CUBLAS_STATUS_SUCCESS && found > 0) return;
    throw DeviceError(fmt::format("cuBLASLt has no algorithm for the product of [{}, {}] and [{}, {}] in {}: {}", problem.m,
                                  problem.k, problem.k, problem.n, name(problem.storage), cublasLtGetStatusString(status)));
  }

  Description description_;
  Layout a_, b_, c_;
  float beta_;
  cublasLtMatmulHeuristicResult_t choice_{};
};

}  // namespace

void check(cublasStatus_t status, const char* call, std::source_location where) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  const std::string_view file = where.file_name();
  throw DeviceError(fmt::format("{} ({}:{}) failed with cuBLASLt's error {}: {}", call, file.substr(file.rfind('/') + 1),
                                where.line(), static_cast<int>(status), cublasLtGetStatusString(status)));
}

cublasLtHandle_t Library::handle() const {
  std::call_once(started_, [this] {
    const DeviceScope scope(*device_);
    check(cublasLtCreate(&handle_), "cublasLtCreate");
  });
  return handle_;
}

Library::~Library() {
  if (handle_ != nullptr) cublasLtDestroy(handle_);
}

std::int64_t workspace_bytes(const std::shared_ptr<const Library>& library, const ProductProblem& problem) {
  return Product(*library, problem, nullptr, {}, kMostWorkspaceBytes).workspace_bytes();
}

std::function<void(Stream&)> make_product(const std::shared_ptr<const Library>& library, const ProductProblem& problem,
                                          const ProductOperands& operands, TensorView workspace) {
  const Alignments alignments{.a = alignment_of(operands.a), .b = alignment_of(operands.b), .c = alignment_of(operands.c)};
  const auto product =
      std::make_shared<const Product>(*library, problem, operands.bias.raw(), alignments, workspace.size_bytes());
  return [=](Stream& stream) {
    const DeviceScope scope(device_of(stream));
    product->enqueue(*library, operands, workspace.raw(), handle_of(stream));
  };
}

}  // namespace minim::cuda::cublaslt

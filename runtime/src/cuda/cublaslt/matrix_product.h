#pragma once

#include <cublasLt.h>

#include <functional>
#include <memory>
#include <mutex>
#include <source_location>

#include "cuda/cuda_device.h"
#include "minim/runtime/stream.h"
#include "minim/runtime/tensor.h"
#include "product_problem.h"

/// Products of matrices by cuBLASLt: FP32 sums, no TF32, the same bits every time.
namespace minim::cuda::cublaslt {

/// Throws DeviceError unless `status` is CUBLAS_STATUS_SUCCESS. `call` names the function that returned it.
void check(cublasStatus_t status, const char* call, std::source_location where = std::source_location::current());

/// The library on one device; for all streams and threads. It is started when it is first needed.
class Library {
 public:
  explicit Library(std::shared_ptr<const CudaDevice> device) : device_(std::move(device)) {}
  ~Library();
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  cublasLtHandle_t handle() const;

 private:
  std::shared_ptr<const CudaDevice> device_;
  mutable std::once_flag started_;
  mutable cublasLtHandle_t handle_ = nullptr;
};

/// Of an algorithm at most: what cuBLAS's authors recommend for the largest devices.
inline constexpr std::int64_t kMostWorkspaceBytes = 32 << 20;

/// Row-major matrices. `bias` may be absent.
struct ProductOperands {
  ConstTensorView a, b, bias;
  TensorView c;
};

/// For matrices from addresses that are multiples of 16. The problem is not empty. Throws DeviceError when there is no algorithm.
std::int64_t workspace_bytes(const std::shared_ptr<const Library>& library, const ProductProblem& problem);

/// Enqueues the product by the algorithm that cuBLASLt thinks the fastest for these addresses and so much workspace. The problem
/// is not empty.
std::function<void(Stream&)> make_product(const std::shared_ptr<const Library>& library, const ProductProblem& problem,
                                          const ProductOperands& operands, TensorView workspace);

}  // namespace minim::cuda::cublaslt

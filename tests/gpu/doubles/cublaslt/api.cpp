// Put in front of cuBLASLt, whose own library keeps the descriptors. What this double replaces needs a device: handles, the
// choice of an algorithm, and the product.
#include <cublasLt.h>

#include <cstring>
#include <mutex>
#include <set>
#include <string>

#include "cublaslt/product.h"
#include "kernel_work.h"

struct cublasLtContext {};

namespace cublaslt_double {
namespace {

struct Handles {
  std::mutex mutex;
  std::set<cublasLtHandle_t> all;
};

Handles& handles() {
  static Handles& all = *new Handles;  // outlives every thread
  return all;
}

void check_handle(const char* function, cublasLtHandle_t handle) {
  const std::scoped_lock lock(handles().mutex);
  if (handles().all.contains(handle)) return;
  double_refuse((std::string(function) + " is given a handle that cublasLtCreate has not made, or that is destroyed").c_str());
}

/// What stands in for an algorithm: what it was chosen for.
struct Algorithm {
  std::uint64_t mark;
  std::uint64_t workspace_bytes;
  std::uint32_t alignment_a, alignment_b, alignment_c, alignment_d;
};
static_assert(sizeof(Algorithm) <= sizeof(cublasLtMatmulAlgo_t));
constexpr std::uint64_t kMark = 0x6d696e696d;
/// Scratch of every algorithm, where there may be as much.
constexpr std::uint64_t kWorkspaceBytes = 4096;

template <class T>
T get(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t name) {
  T value{};
  std::size_t written = 0;
  cublasLtMatmulPreferenceGetAttribute(preference, name, &value, sizeof value, &written);
  return value;
}

Algorithm choose(const Product& product, cublasLtMatmulPreference_t preference) {
  const auto schemes = get<std::uint32_t>(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK);
  const std::uint32_t harmless = product.adds_bias ? CUBLASLT_REDUCTION_SCHEME_NONE : CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
  if ((schemes & ~harmless) != 0) {
    double_refuse("cuBLASLt may choose an algorithm that rounds sums before they are complete");
  }
  const auto most_bytes = get<std::uint64_t>(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
  return {.mark = kMark,
          .workspace_bytes = most_bytes >= kWorkspaceBytes ? kWorkspaceBytes : 0,
          .alignment_a = get<std::uint32_t>(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES),
          .alignment_b = get<std::uint32_t>(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES),
          .alignment_c = get<std::uint32_t>(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES),
          .alignment_d = get<std::uint32_t>(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES)};
}

void check_alignment(const char* matrix, const void* data, std::uint32_t alignment) {
  if (reinterpret_cast<std::uintptr_t>(data) % alignment == 0) return;
  double_refuse((std::string("cublasLtMatmul finds ") + matrix + " less aligned than its algorithm was chosen for").c_str());
}

}  // namespace
}  // namespace cublaslt_double

using namespace cublaslt_double;

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  const doubles::Hidden hidden;
  const std::scoped_lock lock(handles().mutex);
  *handle = new cublasLtContext;
  handles().all.insert(*handle);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  const doubles::Hidden hidden;
  check_handle("cublasLtDestroy", handle);
  const std::scoped_lock lock(handles().mutex);
  handles().all.erase(handle);
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation, cublasLtMatrixLayout_t a,
                                              cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int wanted,
                                              cublasLtMatmulHeuristicResult_t results[], int* found) {
  const doubles::Hidden hidden;
  check_handle("cublasLtMatmulAlgoGetHeuristic", handle);
  const Algorithm algorithm = choose(Product({operation, a, b, c, d}), preference);
  *found = wanted > 0 ? 1 : 0;
  if (wanted < 1) return CUBLAS_STATUS_INVALID_VALUE;
  results[0] = {};
  std::memcpy(&results[0].algo, &algorithm, sizeof algorithm);
  results[0].workspaceSize = algorithm.workspace_bytes;
  results[0].state = CUBLAS_STATUS_SUCCESS;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation, const void* alpha, const void* a,
                              cublasLtMatrixLayout_t a_layout, const void* b, cublasLtMatrixLayout_t b_layout, const void* beta,
                              const void* c, cublasLtMatrixLayout_t c_layout, void* d, cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t* chosen, void* workspace, std::size_t workspace_bytes,
                              cudaStream_t stream) {
  const doubles::Hidden hidden;
  check_handle("cublasLtMatmul", handle);
  Algorithm algorithm{};
  if (chosen != nullptr) std::memcpy(&algorithm, chosen, sizeof algorithm);
  if (algorithm.mark != kMark) double_refuse("cublasLtMatmul is not given an algorithm that its heuristics have chosen");
  if (workspace_bytes < algorithm.workspace_bytes) return CUBLAS_STATUS_INVALID_VALUE;
  doubles::check_on_device("cublasLtMatmul", {workspace, minim::DType::uint8, {static_cast<std::int64_t>(workspace_bytes)}});
  check_alignment("a", a, algorithm.alignment_a);
  check_alignment("b", b, algorithm.alignment_b);
  check_alignment("c", c, algorithm.alignment_c);
  check_alignment("d", d, algorithm.alignment_d);
  if (*static_cast<const float*>(alpha) != 1 || c != d) {
    double_refuse(
        "cublasLtMatmul is given a factor other than 1, or an old result elsewhere, which this double does not compute");
  }
  const Product product({operation, a_layout, b_layout, c_layout, d_layout});
  doubles::enqueue(stream, "a product of cuBLASLt",
                   [work = product.work(a, b, d, *static_cast<const float*>(beta)), workspace,
                    scratch = static_cast<std::size_t>(algorithm.workspace_bytes)] {
                     doubles::spoil(workspace, scratch);
                     work();
                   });
  return CUBLAS_STATUS_SUCCESS;
}

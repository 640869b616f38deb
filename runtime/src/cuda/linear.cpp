#include "minim/runtime/kernels/linear.h"

#include <memory>
#include <utility>

#include "cuda/activation.h"
#include "cuda/cublaslt/matrix_product.h"
#include "cuda/cuda_kernel.h"
#include "cuda/kernels.h"
#include "cuda/rows.h"

namespace minim::cuda {
namespace {

using cublaslt::Library;
using cublaslt::make_product;
using SharedLibrary = std::shared_ptr<const Library>;
using Enqueue = std::function<void(Stream&)>;

Enqueue make_sums(const LinearForward& args, const SharedLibrary& library) {
  const auto problem = problem_of(args);
  if (problem.empty()) return make_fill_rows(args.bias, args.y);
  return make_product(library, problem, {.a = args.x, .b = args.w, .bias = args.bias, .c = args.y}, args.workspace);
}

Enqueue make(const LinearForward& args, const SharedLibrary& library) {
  return followed_by_activation(make_sums(args, library), args.y, args.activation);
}

Enqueue make(const LinearBackwardData& args, const SharedLibrary& library) {
  const auto problem = problem_of(args);
  if (problem.empty()) return make_fill_zero(args.dx);
  return make_product(library, problem, {.a = args.dy, .b = args.w, .bias = {}, .c = args.dx}, args.workspace);
}

Enqueue make_weights(const LinearBackwardWeights& args, const SharedLibrary& library) {
  const auto problem = problem_of(args);
  if (!problem.empty()) {
    return make_product(library, problem, {.a = args.dy, .b = args.x, .bias = {}, .c = args.dw}, args.workspace);
  }
  return args.accumulate ? [](Stream&) {} : make_fill_zero(args.dw);
}

Enqueue make(const LinearBackwardWeights& args, const SharedLibrary& library) {
  Enqueue weights = make_weights(args, library);
  if (!args.dbias.present()) return weights;
  return [weights, bias = make_sum_rows(args.dy, args.dbias, args.accumulate, args.workspace)](Stream& stream) {
    weights(stream);
    bias(stream);
  };
}

template <class Args>
std::int64_t workspace_bytes(const Args& args, const SharedLibrary& library) {
  const auto problem = problem_of(args);
  return with_bias_gradient(args, problem.empty() ? 0 : cublaslt::workspace_bytes(library, problem));
}

template <class Args>
void add(Backend& backend, const SharedLibrary& library) {
  backend.add_kernel<Args>(cuda_kernel<Args>([library](const Args& args) { return make(args, library); },
                                             [library](const Args& args) { return workspace_bytes(args, library); }),
                           kSet);
}

/// Of a device that need not be here: cuBLASLt chooses for none that is not.
template <class Args>
void add_workspace(Backend& backend) {
  const auto ask = [](const Args& args) -> WorkspaceSize {
    if (problem_of(args).empty()) return 0;
    return {with_bias_gradient(args, cublaslt::kMostWorkspaceBytes), /*known=*/false};
  };
  backend.add_kernel<Args>({.prepare = nullptr, .workspace_bytes = ask}, kSet);
}

}  // namespace

void add_linear_kernels(Backend& backend, std::shared_ptr<const CudaDevice> device) {
  const auto library = std::make_shared<const Library>(std::move(device));
  add<LinearForward>(backend, library);
  add<LinearBackwardData>(backend, library);
  add<LinearBackwardWeights>(backend, library);
}

void add_linear_workspaces(Backend& backend) {
  add_workspace<LinearForward>(backend);
  add_workspace<LinearBackwardData>(backend);
  add_workspace<LinearBackwardWeights>(backend);
}

}  // namespace minim::cuda

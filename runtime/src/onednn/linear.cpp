#include "onednn/linear.h"

#include <memory>
#include <string>

#include "onednn/implementations.h"
#include "onednn/matrix_product.h"
#include "onednn/rounding.h"
#include "onednn/rows.h"

namespace minim::onednn {
namespace {

template <class Args>
std::int64_t workspace_of(const Args& args, int threads) {
  const auto problem = problem_of(args);
  return problem.empty() ? 0 : plan_product(problem, threads).workspace_bytes;
}

template <class Args>
std::shared_ptr<Product> make_product(const Args& args, ConstTensorView a, ConstTensorView b, ConstTensorView bias, TensorView c,
                                      int threads, Activation activation = Activation::none) {
  const auto problem = problem_of(args);
  const auto plan = plan_product(problem, threads);
  if (args.workspace.size_bytes() < plan.workspace_bytes) {
    throw InvalidArgument("a matrix product was given a workspace of " + std::to_string(args.workspace.size_bytes()) +
                          " bytes, it wants " + std::to_string(plan.workspace_bytes));
  }
  const ThreadScope scope(threads);
  return translate_errors("a matrix product",
                          [&] { return std::make_shared<Product>(problem, plan, a, b, bias, activation, c, args.workspace); });
}

template <class Args>
std::vector<std::string> implementations_of(const Args& args, int threads) {
  std::vector<std::string> names;
  for (const auto& tile : plan_product(problem_of(args), threads).tiles) names.emplace_back(tile.primitive.impl_info_str());
  return names;
}

void store_bias_gradient(const LinearBackwardWeights& args) {
  if (args.dbias.present()) sum_rows(args.dy, args.dbias, args.accumulate);
}

}  // namespace

std::function<void()> prepare(const LinearForward& args, int threads) {
  if (problem_of(args).empty()) return [args] { fill_rows(args.bias, args.y, args.activation); };
  return [product = make_product(args, args.x, args.w, args.bias, args.y, threads, args.activation)] { product->run(); };
}

std::function<void()> prepare(const LinearBackwardData& args, int threads) {
  if (problem_of(args).empty()) return [dx = args.dx] { fill_zero(dx); };
  return [product = make_product(args, args.dy, args.w, {}, args.dx, threads)] { product->run(); };
}

std::function<void()> prepare(const LinearBackwardWeights& args, int threads) {
  if (problem_of(args).empty()) {
    return [args] {
      if (!args.accumulate) fill_zero(args.dw);
      store_bias_gradient(args);
    };
  }
  return [args, product = make_product(args, args.dy, args.x, {}, args.dw, threads)] {
    product->run();
    store_bias_gradient(args);
  };
}

std::vector<std::string> implementations(const LinearForward& args, int threads) { return implementations_of(args, threads); }
std::vector<std::string> implementations(const LinearBackwardData& args, int threads) {
  return implementations_of(args, threads);
}
std::vector<std::string> implementations(const LinearBackwardWeights& args, int threads) {
  return implementations_of(args, threads);
}

std::int64_t workspace_bytes(const LinearForward& args, int threads) { return workspace_of(args, threads); }
std::int64_t workspace_bytes(const LinearBackwardData& args, int threads) { return workspace_of(args, threads); }
std::int64_t workspace_bytes(const LinearBackwardWeights& args, int threads) { return workspace_of(args, threads); }

}  // namespace minim::onednn

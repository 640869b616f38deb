#include "onednn/convolution.h"

#include <memory>
#include <string>

#include "onednn/convolution_operands.h"
#include "onednn/implementations.h"
#include "onednn/rounding.h"
#include "onednn/rows.h"

namespace minim::onednn {
namespace {

void check_workspace(TensorView workspace, std::int64_t wanted_bytes) {
  if (workspace.size_bytes() >= wanted_bytes) return;
  throw InvalidArgument("a convolution was given a workspace of " + std::to_string(workspace.size_bytes()) + " bytes, it wants " +
                        std::to_string(wanted_bytes));
}

/// The primitive of `plan`, its scratchpad in place.
BoundPrimitive bind(const ConvolutionPlan& plan, ConvolutionPass pass, bool has_bias, TensorView workspace) {
  const auto arguments = arguments_of(pass);
  auto primitive = has_bias ? BoundPrimitive(plan.primitive, {arguments.x, arguments.w, arguments.y, arguments.bias})
                            : BoundPrimitive(plan.primitive, {arguments.x, arguments.w, arguments.y});
  primitive.point(DNNL_ARG_SCRATCHPAD, plan.scratchpad.in(workspace));
  return primitive;
}

class Forward {
 public:
  Forward(const Conv2dForward& args, const ConvolutionPlan& plan)
      : chunks_(plan.chunks),
        primitive_(bind(plan, ConvolutionPass::forward, args.bias.present(), args.workspace)),
        x_(args.x, plan, plan.x.in<float>(args.workspace)),
        y_(args.y, plan, plan.y.in<float>(args.workspace), args.activation),
        w_(args.w, args.bias, plan, args.workspace) {}

  void run() {
    primitive_.point(DNNL_ARG_WEIGHTS, w_.weights());
    primitive_.point(DNNL_ARG_BIAS, w_.bias());
    primitive_.point(DNNL_ARG_DST, y_.target());
    for (std::int64_t i = 0; i < chunks_; ++i) {
      primitive_.point(DNNL_ARG_SRC, x_.chunk(i));
      primitive_.run();
      y_.store(i);
    }
  }

 private:
  std::int64_t chunks_;
  BoundPrimitive primitive_;
  ImageReader x_;
  ImageWriter y_;
  WeightReader w_;
};

class BackwardData {
 public:
  BackwardData(const Conv2dBackwardData& args, const ConvolutionPlan& plan)
      : chunks_(plan.chunks),
        primitive_(bind(plan, ConvolutionPass::backward_data, false, args.workspace)),
        dy_(args.dy, plan, plan.y.in<float>(args.workspace)),
        dx_(args.dx, plan, plan.x.in<float>(args.workspace), Activation::none),
        w_(args.w, {}, plan, args.workspace) {}

  void run() {
    primitive_.point(DNNL_ARG_WEIGHTS, w_.weights());
    primitive_.point(DNNL_ARG_DIFF_SRC, dx_.target());
    for (std::int64_t i = 0; i < chunks_; ++i) {
      primitive_.point(DNNL_ARG_DIFF_DST, dy_.chunk(i));
      primitive_.run();
      dx_.store(i);
    }
  }

 private:
  std::int64_t chunks_;
  BoundPrimitive primitive_;
  ImageReader dy_;
  ImageWriter dx_;
  WeightReader w_;
};

class BackwardWeights {
 public:
  BackwardWeights(const Conv2dBackwardWeights& args, const ConvolutionPlan& plan)
      : chunks_(plan.chunks),
        primitive_(bind(plan, ConvolutionPass::backward_weights, args.dbias.present(), args.workspace)),
        x_(args.x, plan, plan.x.in<float>(args.workspace)),
        dy_(args.dy, plan, plan.y.in<float>(args.workspace)),
        gradients_(args.dw, args.dbias, plan, args.workspace, args.accumulate) {}

  void run() {
    for (std::int64_t i = 0; i < chunks_; ++i) {
      primitive_.point(DNNL_ARG_SRC, x_.chunk(i));
      primitive_.point(DNNL_ARG_DIFF_DST, dy_.chunk(i));
      primitive_.point(DNNL_ARG_DIFF_WEIGHTS, gradients_.weights(i));
      primitive_.point(DNNL_ARG_DIFF_BIAS, gradients_.bias(i));
      primitive_.run();
      gradients_.add(i);
    }
    gradients_.store();
  }

 private:
  std::int64_t chunks_;
  BoundPrimitive primitive_;
  ImageReader x_, dy_;
  GradientWriter gradients_;
};

template <class Call, class Args>
std::function<void()> prepare_call(const Args& args, int threads) {
  const auto plan = plan_convolution(problem_of(args), threads);
  check_workspace(args.workspace, plan.workspace_bytes);
  const ThreadScope scope(threads);
  auto call = translate_errors("a convolution", [&] { return std::make_shared<Call>(args, plan); });
  return [call] { call->run(); };
}

template <class Args>
std::int64_t workspace_of(const Args& args, int threads) {
  const auto problem = problem_of(args);
  return problem.empty() ? 0 : plan_convolution(problem, threads).workspace_bytes;
}

template <class Args>
std::vector<std::string> implementations_of(const Args& args, int threads) {
  const auto plan = plan_convolution(problem_of(args), threads);
  std::vector<std::string> names{plan.primitive.impl_info_str()};
  if (plan.repacking) names.emplace_back(plan.repacking.impl_info_str());
  return names;
}

}  // namespace

std::function<void()> prepare(const Conv2dForward& args, int threads) {
  if (problem_of(args).empty()) return [args] { fill_rows(args.bias, args.y, args.activation); };
  return prepare_call<Forward>(args, threads);
}

std::function<void()> prepare(const Conv2dBackwardData& args, int threads) {
  if (problem_of(args).empty()) return [dx = args.dx] { fill_zero(dx); };
  return prepare_call<BackwardData>(args, threads);
}

std::function<void()> prepare(const Conv2dBackwardWeights& args, int threads) {
  if (!problem_of(args).empty()) return prepare_call<BackwardWeights>(args, threads);
  return [args] {
    if (!args.accumulate) fill_zero(args.dw);
    if (args.dbias.present()) sum_rows(args.dy, args.dbias, args.accumulate);
  };
}

std::vector<std::string> implementations(const Conv2dForward& args, int threads) { return implementations_of(args, threads); }
std::vector<std::string> implementations(const Conv2dBackwardData& args, int threads) {
  return implementations_of(args, threads);
}
std::vector<std::string> implementations(const Conv2dBackwardWeights& args, int threads) {
  return implementations_of(args, threads);
}

std::int64_t workspace_bytes(const Conv2dForward& args, int threads) { return workspace_of(args, threads); }
std::int64_t workspace_bytes(const Conv2dBackwardData& args, int threads) { return workspace_of(args, threads); }
std::int64_t workspace_bytes(const Conv2dBackwardWeights& args, int threads) { return workspace_of(args, threads); }

}  // namespace minim::onednn

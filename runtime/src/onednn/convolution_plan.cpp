#include "onednn/convolution_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <string_view>

namespace minim::onednn {
namespace {

using dnnl::memory;

/// Images of a chunk, in and out, in FP32: three quarters of the 1 MiB of L2 that the smallest server cores have.
constexpr std::int64_t kChunkBytesPerThread = 768 * 1024;
/// Output positions that a chunk sums into a weight gradient: each chunk costs one addition per weight, each position a product.
constexpr std::int64_t kMinPositionsPerWeight = 2048;

memory::desc images(Shape shape, std::int64_t samples, memory::data_type type) {
  return {{samples, shape[3], shape[1], shape[2]}, type, memory::format_tag::nhwc};
}

memory::dims weight_dims(const ConvolutionProblem& problem) {
  const Shape& w = problem.w;
  const std::int64_t groups = problem.geometry.groups;
  if (groups == 1) return {w[0], w[3], w[1], w[2]};
  return {groups, w[0] / groups, w[3], w[1], w[2]};
}

/// [O, KH, KW, C / groups] in oneDNN's order of dimensions.
memory::desc plain_weights(const ConvolutionProblem& problem, memory::data_type type) {
  const Shape& w = problem.w;
  const std::int64_t row = w[2] * w[3], filter = w[1] * row;
  memory::dims strides{filter, 1, row, w[3]};
  if (problem.geometry.groups > 1) strides.insert(strides.begin(), w[0] / problem.geometry.groups * filter);
  return {weight_dims(problem), type, strides};
}

/// The problem in oneDNN's words, for `samples` images.
class Description {
 public:
  Description(const ConvolutionProblem& problem, std::int64_t samples, DType compute)
      : problem_(problem),
        x_(images(problem.x, samples, data_type(compute))),
        y_(images(problem.y, samples, data_type(compute))),
        w_(weight_dims(problem), data_type(compute), memory::format_tag::any),
        bias_(problem.has_bias ? memory::desc({problem.w[0]}, memory::data_type::f32, memory::format_tag::x) : memory::desc()) {
    const Conv2dGeometry& g = problem.geometry;
    strides_ = {g.stride_h, g.stride_w};
    dilations_ = {g.dilation_h - 1, g.dilation_w - 1};
    before_ = {g.pad_top, g.pad_left};
    after_ = {g.pad_bottom, g.pad_right};
  }

  dnnl::primitive_desc_base make() const {
    const auto hint = forward();
    if (problem_.pass == ConvolutionPass::backward_data) return backward_data(hint);
    if (problem_.pass == ConvolutionPass::backward_weights) return backward_weights(hint);
    return hint;
  }

 private:
  static constexpr auto kDirect = dnnl::algorithm::convolution_direct;

  dnnl::convolution_forward::primitive_desc forward() const {
    return {{dnnl::prop_kind::forward_training, kDirect, x_, w_, bias_, y_, strides_, dilations_, before_, after_},
            user_scratchpad(),
            engine()};
  }
  dnnl::primitive_desc_base backward_data(const dnnl::convolution_forward::primitive_desc& hint) const {
    return dnnl::convolution_backward_data::primitive_desc({kDirect, x_, w_, y_, strides_, dilations_, before_, after_},
                                                           user_scratchpad(), engine(), hint);
  }
  dnnl::primitive_desc_base backward_weights(const dnnl::convolution_forward::primitive_desc& hint) const {
    const memory::desc dw(weight_dims(problem_), memory::data_type::f32, memory::format_tag::any);
    return dnnl::convolution_backward_weights::primitive_desc({kDirect, x_, dw, bias_, y_, strides_, dilations_, before_, after_},
                                                              user_scratchpad(), engine(), hint);
  }

  const ConvolutionProblem& problem_;
  memory::desc x_, y_, w_, bias_;
  memory::dims strides_, dilations_, before_, after_;
};

/// oneDNN divides work among threads by 32-bit products of the weights' dimensions: with more of them it divides by zero.
void check_weights(const ConvolutionProblem& problem) {
  constexpr std::int64_t kMostWeights = std::numeric_limits<std::int32_t>::max();
  if (problem.w.elements() <= kMostWeights) return;
  throw InvalidArgument(fmt::format("a convolution has {} weights, {}: the CPU's kernels take up to {}", problem.w.elements(),
                                    problem.w.to_string(), kMostWeights));
}

/// Images per run such that a chunk fits the caches, and the runs are as equal as can be.
std::int64_t choose_chunk(const ConvolutionProblem& problem, DType compute, int threads) {
  const std::int64_t samples = problem.samples();
  if (problem.storage == compute) return samples;
  const std::int64_t image_bytes = (problem.x.elements_per_sample() + problem.y.elements_per_sample()) * size_bytes(DType::fp32);
  std::int64_t most = std::max<std::int64_t>(threads * kChunkBytesPerThread / image_bytes, threads);
  if (problem.pass == ConvolutionPass::backward_weights) {
    const std::int64_t positions = problem.y[1] * problem.y[2];
    most = std::max(most, (kMinPositionsPerWeight + positions - 1) / positions);
  }
  const std::int64_t chunks = (samples + most - 1) / most;
  return (samples + chunks - 1) / chunks;
}

bool is_reference(std::string_view implementation) { return implementation.find("ref") != std::string_view::npos; }

ConvolutionPlan compile(const ConvolutionProblem& problem, DType compute, int threads) {
  ConvolutionPlan plan;
  plan.compute = compute;
  plan.chunk_samples = choose_chunk(problem, compute, threads);
  plan.chunks = (problem.samples() + plan.chunk_samples - 1) / plan.chunk_samples;
  plan.primitive = Description(problem, plan.chunk_samples, compute).make();
  return plan;
}

void lay_out_images(const ConvolutionProblem& problem, ConvolutionPlan& plan, WorkspaceLayout& workspace) {
  if (plan.in_place(problem.storage)) return;
  const std::int64_t samples_bytes = plan.chunk_samples * size_bytes(plan.compute);
  plan.x = workspace.add(problem.x.elements_per_sample() * samples_bytes);
  plan.y = workspace.add(problem.y.elements_per_sample() * samples_bytes);
}

void lay_out_weights(const ConvolutionProblem& problem, ConvolutionPlan& plan, WorkspaceLayout& workspace) {
  const bool repacked = plan.packed_weights != plan.plain_weights;
  if (problem.storage != plan.compute) plan.plain = workspace.add(problem.w.elements() * size_bytes(plan.compute));
  if (repacked) plan.packed = workspace.add(static_cast<std::int64_t>(plan.packed_weights.get_size()));
  if (problem.has_bias && problem.storage != DType::fp32) plan.bias = workspace.add(problem.w[0] * size_bytes(DType::fp32));
}

void lay_out_gradients(const ConvolutionProblem& problem, ConvolutionPlan& plan, WorkspaceLayout& workspace) {
  const bool repacked = plan.packed_weights != plan.plain_weights;
  const bool stored_as_computed = problem.storage == DType::fp32 && !problem.accumulate;
  const auto packed_bytes = static_cast<std::int64_t>(plan.packed_weights.get_size());
  const std::int64_t bias_bytes = problem.has_bias ? problem.w[0] * size_bytes(DType::fp32) : 0;
  if (repacked || !stored_as_computed) plan.packed = workspace.add(packed_bytes);
  if (repacked && !stored_as_computed) plan.plain = workspace.add(problem.w.elements() * size_bytes(DType::fp32));
  if (!stored_as_computed) plan.bias = workspace.add(bias_bytes);
  if (plan.chunks > 1) {
    plan.packed_sum = workspace.add(packed_bytes);
    plan.bias_sum = workspace.add(bias_bytes);
  }
}

/// The reordering of weights into the primitive's layout, or of their gradients out of it.
void describe_repacking(bool gradients, ConvolutionPlan& plan) {
  if (plan.packed_weights == plan.plain_weights) return;
  const memory::desc& from = gradients ? plan.packed_weights : plan.plain_weights;
  const memory::desc& to = gradients ? plan.plain_weights : plan.packed_weights;
  plan.repacking = dnnl::reorder::primitive_desc(engine(), from, engine(), to, user_scratchpad());
}

ConvolutionPlan plan_untranslated(const ConvolutionProblem& problem, int threads) {
  auto plan = compile(problem, compute_dtype(problem.storage), threads);
  if (plan.compute != DType::fp32 && is_reference(plan.implementation())) plan = compile(problem, DType::fp32, threads);
  const bool gradients = problem.pass == ConvolutionPass::backward_weights;
  plan.packed_weights = layout(plan.primitive, arguments_of(problem.pass).w);
  plan.plain_weights = plain_weights(problem, data_type(gradients ? DType::fp32 : plan.compute));
  describe_repacking(gradients, plan);
  WorkspaceLayout workspace;
  lay_out_images(problem, plan, workspace);
  if (gradients) {
    lay_out_gradients(problem, plan, workspace);
  } else {
    lay_out_weights(problem, plan, workspace);
  }
  plan.scratchpad = workspace.add(std::max(scratchpad_bytes(plan.primitive), scratchpad_bytes(plan.repacking)));
  plan.workspace_bytes = workspace.size_bytes();
  return plan;
}

}  // namespace

ConvolutionArguments arguments_of(ConvolutionPass pass) {
  switch (pass) {
    case ConvolutionPass::forward: return {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST, DNNL_ARG_BIAS};
    case ConvolutionPass::backward_data: return {DNNL_ARG_DIFF_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_DST, DNNL_ARG_BIAS};
    case ConvolutionPass::backward_weights: break;
  }
  return {DNNL_ARG_SRC, DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_BIAS};
}

ConvolutionPlan plan_convolution(const ConvolutionProblem& problem, int threads) {
  check_weights(problem);
  const ThreadScope scope(threads);
  return translate_errors("a convolution", [&] { return plan_untranslated(problem, threads); });
}

}  // namespace minim::onednn

#pragma once

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "convolution_problem.h"
#include "cuda/cudnn/convolution_plan.h"

namespace minim::cuda::cudnn {

/// Integer operands for a convolution, and the sums that it has to find. FP32 holds every part of a sum exactly; FP16 and
/// bfloat16 do not, so that sums which are rounded in between show: most are beyond 2^11, and those of weight gradients, which
/// are longest, go up over the first half of the products and come down over the second.
class ExactSums {
 public:
  /// Values repeat after so many. A prime number, so that rows and channels do not see the same again and again.
  static constexpr std::int64_t kPeriod = 65521;

  /// The problem is not empty and outlives this.
  explicit ExactSums(const ConvolutionProblem& problem);

  std::int64_t products_per_sum() const;

  ConvolutionTensor first() const { return problem_.pass == ConvolutionPass::backward_data ? kY : kX; }
  ConvolutionTensor second() const { return problem_.pass == ConvolutionPass::backward_weights ? kY : kW; }
  ConvolutionTensor result() const;

  /// Element `i` of the first operand, `which` = 0, or of the second, 1, as it lies in memory.
  std::int64_t operand(int which, std::int64_t i) const;
  /// Ranges [begin, end) of an operand within which values repeat.
  std::vector<std::pair<std::int64_t, std::int64_t>> repeating(int which) const;
  /// Element `i` of the result, without a bias and added to zero.
  std::int64_t at(std::int64_t i) const;

 private:
  bool falls(int which) const { return which == 1 && problem_.pass == ConvolutionPass::backward_weights; }
  std::int64_t forward(std::int64_t i) const;
  std::int64_t backward_data(std::int64_t i) const;
  std::int64_t backward_weights(std::int64_t i) const;

  const ConvolutionProblem& problem_;
  std::array<std::vector<std::int8_t>, 2> values_;  ///< kPeriod each
};

}  // namespace minim::cuda::cudnn

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "model/operation_cases.h"

namespace minim::test {
namespace {

/// What storing once in a format may cost.
struct Format {
  Precision precision;
  double unit;      ///< largest relative error of rounding to nearest: 2^-p for p significant bits
  double smallest;  ///< half the smallest subnormal: largest error below the normal numbers
};
constexpr Format kFormats[] = {{Precision::mixed, 0x1p-11, 0x1p-25}, {Precision::bf16, 0x1p-8, 0x1p-134}};

/// The bound. Inputs, parameters and coefficients are the same exact numbers of magnitude at most 1 in both runs, and between a
/// source and the probe each result and each gradient is one sum of at most `terms` products, accumulated in FP32 and rounded to
/// the format once:
///   |found - wanted| <= unit * |wanted| + smallest + error of the FP32 accumulation.
/// The last is at most (terms + 8) * 2^-24 times the sum of the magnitudes, hence of `kMagnitude` per term: products of numbers
/// below 1, or, in normalisation, of x_hat * dy with 1 / deviation < 4 (the deviation of uniform numbers in [-1, 1) is 0.58). The
/// 8 covers what normalisation does after its sums, and what functions such as the exponential are off by. Operations that round
/// on the way say what that may cost.
constexpr double kMagnitude = 4;

double bound(const Format& format, const OperationCase& operation, double wanted) {
  const double accumulation = (operation.terms + 8) * 0x1p-24 * kMagnitude * operation.terms;
  return format.unit * (std::abs(wanted) + accumulation + operation.rounded_before) + format.smallest + accumulation;
}

class OperationInLowPrecision : public testing::TestWithParam<OperationCase> {};

void expect_within_bound(const std::string& what, const std::vector<float>& found, const std::vector<float>& wanted,
                         const Format& format, const OperationCase& operation) {
  ASSERT_EQ(found.size(), wanted.size()) << what;
  for (std::size_t i = 0; i < found.size(); ++i) {
    ASSERT_NEAR(found[i], wanted[i], bound(format, operation, wanted[i])) << what << " element " << i;
  }
}

TEST_P(OperationInLowPrecision, RoundsEachResultOnce) {
  const auto reference = make_reference_backend();
  const auto cpu = make_cpu_backend(1);
  add_test_kernels(*reference);
  add_test_kernels(*cpu);
  RunningCase oracle(GetParam(), *reference, Precision::fp32);
  oracle.step();
  for (const Format& format : kFormats) {
    RunningCase low(GetParam(), *cpu, format.precision);
    low.step();
    const std::string precision(name(format.precision));
    expect_within_bound(precision + " y", low.y(), oracle.y(), format, GetParam());
    for (std::size_t i = 0; i < oracle.model().parameters().size(); ++i) {
      const Parameter& wanted = *oracle.model().parameters()[i];
      expect_within_bound(precision + " gradient of " + wanted.name, floats(low.model().parameters()[i]->gradient),
                          floats(wanted.gradient), format, GetParam());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, OperationInLowPrecision, testing::ValuesIn(operation_cases()),
                         [](const auto& instance) { return instance.param.name; });

}  // namespace
}  // namespace minim::test

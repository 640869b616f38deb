#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "minim/runtime/error.h"
#include "minim/runtime/simd.h"
#include "optimizer/rank_job.h"
#include "optimizer/rule_oracle.h"
#include "optimizer/update_slice.h"
#include "trust_kernels.h"

namespace minim {
namespace {

using testing::Bounded;
using testing::constant_scale;
using testing::RankJob;
using testing::rule_step;
using testing::RuleStep;
using testing::run_ranks;
using testing::SliceCase;
using testing::Slot;
using testing::two_segments;
using testing::UpdateSlice;

constexpr std::int64_t kElements = 70001;  // of several blocks of the tree, the last not whole

const SliceCase kCases[] = {{LarsRule{}, DType::fp16, DType::fp16, true},
                            {LarsRule{}, DType::fp16, DType::fp16, false},
                            {LambRule{}, DType::fp16, DType::fp32, true},
                            {LambRule{}, DType::bf16, DType::bf16, true},
                            {LambRule{}, DType::fp32, DType::fp32, false}};

/// What MeasureUpdate takes the norm of.
Bounded measured(const UpdateRule& rule, const RuleStep& step, Slot x) {
  if (const auto* lamb = std::get_if<LambRule>(&rule)) return step_of(*lamb, step, x);
  return step.g;
}

TEST(MeasureUpdate, SumsSquaresOfWeightsAndOfWhatTheyAreMeasuredAgainst) {
  constexpr double kSums = 1e-12;  // FP64, over so many elements
  for (const SliceCase& what : kCases) {
    const auto segments = two_segments(kElements);
    const UpdateSlice slice(what, kElements, segments);
    slice.fill(5);
    slice.measure();
    for (const UpdateSegment& segment : segments) {
      double weight = 0, update = 0, error = 0;
      for (std::int64_t i = segment.begin; i < segment.end; ++i) {
        const double w = UpdateSlice::get(what.master ? slice.master : slice.weight, i);
        const RuleStep step =
            rule_step(slice.state(), segment, UpdateSlice::get(slice.gradient, i), UpdateSlice::kWireExponent, 1);
        const Bounded u = measured(what.rule, step,
                                   {.w = Bounded::exact(w),
                                    .m1 = Bounded::exact(UpdateSlice::get(slice.moment1, i)),
                                    .m2 = Bounded::exact(UpdateSlice::get(slice.moment2, i))});
        weight += w * w;
        update += u.value * u.value;
        error += (2 * std::abs(u.value) + u.error) * u.error;
      }
      const ParameterSquares& squares = slice.squares()[static_cast<std::size_t>(segment.parameter)];
      EXPECT_NEAR(squares.weight, weight, kSums * weight) << name(what.rule);
      EXPECT_NEAR(squares.update, update, 2 * error + kSums * update) << name(what.rule);
      EXPECT_LT(error, 1e-5 * update);
    }
  }
}

TEST(MeasureUpdate, IsBitForBitTheSameOnEveryInstructionSetAndForAnyNumberOfThreads) {
  const auto sets = simd::available_instruction_sets();
  for (const SliceCase& what : kCases) {
    const auto segments = two_segments(kElements);
    const UpdateSlice reference(what, kElements, segments, "reference");
    reference.fill(5);
    reference.measure();
    for (const auto set : sets) {
      simd::limit_instruction_set(set);
      for (const int threads : {1, 3}) {
        const UpdateSlice slice(what, kElements, segments, make_cpu_backend(threads));
        slice.fill(5);
        slice.measure();
        ASSERT_EQ(std::memcmp(slice.squares().data(), reference.squares().data(), reference.squares().size_bytes()), 0)
            << name(what.rule) << ", " << simd::name(set) << ", " << threads;
      }
    }
  }
  simd::limit_instruction_set(sets.back());
}

TEST(MeasureUpdate, ChangesNothingButItsSumsAndThoseInAnAppliedStepOnly) {
  const UpdateSlice slice({LambRule{}, DType::fp16, DType::fp16, true}, 5000, two_segments(5000));
  slice.fill(6);
  const auto before = slice.bytes();
  slice.state().last_applied = 0;
  slice.measure();
  for (const ParameterSquares& squares : slice.squares()) EXPECT_EQ(squares.weight + squares.update, 0);
  slice.state().last_applied = 1;
  slice.measure();
  EXPECT_GT(slice.squares()[3].update, 0);
  EXPECT_EQ(slice.bytes(), before);
}

TEST(MeasureUpdate, RefusesARuleWithoutTrustRatios) {
  EXPECT_THROW(UpdateSlice({}, 64, two_segments(64)).measure(), InvalidArgument);
}

TEST(TrustRatio, ComparesNormsOverAllRanks) {
  const ParameterSquares squares[] = {
      {.weight = 9, .update = 1}, {}, {.weight = 0, .update = 0}, {}, {.weight = 16, .update = 3}};
  const auto ratio = [&](const UpdateRule& rule, const TrustParameter& parameter, std::int64_t ranks = 3) {
    return trust_ratio(numbers_of(rule), parameter, squares, 2, ranks);
  };
  EXPECT_EQ(ratio(LambRule{}, {}), 2.5F);  // 5 / 2
  EXPECT_EQ(ratio(LarsRule{.trust = 0.5}, {}), 1.25F);
  EXPECT_EQ(ratio(LarsRule{.trust = 0.5}, {.weight_decay = 0.5F}), static_cast<float>(0.5 * 5 / (2 + 0.5 * 5)));
  EXPECT_EQ(ratio(LambRule{}, {.adapts = false}), 1.0F);
  EXPECT_EQ(ratio(LarsRule{}, {.adapts = false}), 1.0F);
}

TEST(TrustRatio, IsOneWhereANormIsZero) {
  for (const UpdateRule& rule : {UpdateRule(LarsRule{}), UpdateRule(LambRule{})}) {
    for (const ParameterSquares& squares : {ParameterSquares{}, {.weight = 1, .update = 0}, {.weight = 0, .update = 1}}) {
      EXPECT_EQ(trust_ratio(numbers_of(rule), {}, &squares, 1, 1), 1.0F);
    }
  }
}

// Whole steps against the sources' algorithms in FP64.

constexpr double kRate = 0.05;

float gradient_of(int parameter, std::int64_t element, int step) {
  return static_cast<float>((element * 7 + parameter * 3 + step * 11) % 9 - 4) * 0.125F;
}

struct Reference {
  std::vector<double> w, m, v;
};

double norm(const std::vector<double>& values) {
  double squares = 0;
  for (const double value : values) squares += value * value;
  return std::sqrt(squares);
}

void step_in_fp64(const UpdateRule& rule, Reference& x, const std::vector<double>& g, double rate, double decay, bool adapts,
                  int t) {
  if (const auto* lars = std::get_if<LarsRule>(&rule)) {
    const double local = adapts && norm(g) > 0 ? lars->trust * norm(x.w) / (norm(g) + decay * norm(x.w)) : 1;
    for (std::size_t i = 0; i < g.size(); ++i) {
      x.m[i] = lars->momentum * x.m[i] + rate * local * (g[i] + decay * x.w[i]);
      x.w[i] -= x.m[i];
    }
    return;
  }
  const auto& lamb = std::get<LambRule>(rule);
  std::vector<double> u(g.size());
  for (std::size_t i = 0; i < g.size(); ++i) {
    x.m[i] = lamb.beta1 * x.m[i] + (1 - lamb.beta1) * g[i];
    x.v[i] = lamb.beta2 * x.v[i] + (1 - lamb.beta2) * g[i] * g[i];
    const double mean = x.m[i] / (1 - std::pow(lamb.beta1, t)), square = x.v[i] / (1 - std::pow(lamb.beta2, t));
    u[i] = mean / (std::sqrt(square) + lamb.epsilon) + decay * x.w[i];
  }
  const double ratio = adapts ? norm(x.w) / norm(u) : 1;
  for (std::size_t i = 0; i < g.size(); ++i) x.w[i] -= rate * ratio * u[i];
}

/// A parameter's array as it lies in memory.
std::vector<double> physical(const Parameter& parameter, const std::vector<float>& logical) {
  std::vector<float> values(logical.size());
  to_physical(parameter.shape, parameter.layout, logical, values);
  return {values.begin(), values.end()};
}

void expect_the_algorithm(const UpdateRule& rule, int ranks, bool shard) {
  constexpr double kRoundings = 1e-5;  // of some steps in FP32, relative to numbers of about 1
  run_ranks(ranks, [&](Communicator& communicator) {
    OptimizerConfig config = constant_scale(64, rule);
    config.schedule.base = kRate;
    config.shard = shard;
    config.groups = {{.name = "default", .weight_decay = 0.25},
                     {.name = "bias", .learning_rate_factor = 0.5, .weight_decay = 0.125}};
    RankJob job(communicator, config);
    std::vector<Reference> wanted;
    for (const Parameter& parameter : job.parameters) {
      const std::vector<double> w = physical(parameter, job.optimizer->gather_array("master", parameter));
      wanted.push_back({.w = w, .m = std::vector<double>(w.size()), .v = std::vector<double>(w.size())});
    }
    for (int step = 0; step < 4; ++step) {
      job.step([&](int p, std::int64_t i) { return 64 * gradient_of(p, i, step); });
      for (std::size_t p = 0; p < job.parameters.size(); ++p) {
        const Parameter& parameter = job.parameters[p];
        std::vector<double> g;
        for (std::size_t i = 0; i < wanted[p].w.size(); ++i) {
          g.push_back(static_cast<double>(gradient_of(static_cast<int>(p), static_cast<std::int64_t>(i), step)));
        }
        const bool bias = parameter.group == "bias";
        const double decay = !parameter.decay ? 0 : bias ? 0.125 : 0.25;
        step_in_fp64(rule, wanted[p], g, bias ? kRate / 2 : kRate, decay, parameter.decay, step + 1);
        const std::vector<double> w = physical(parameter, job.optimizer->gather_array("master", parameter));
        for (std::size_t i = 0; i < w.size(); ++i) {
          ASSERT_NEAR(w[i], wanted[p].w[i], kRoundings) << parameter.name << ", " << i << ", step " << step;
        }
      }
    }
  });
}

TEST(TrustRatios, AreThoseOfWholeParametersOnAnyNumberOfRanks) {
  for (const int ranks : {1, 2, 3, 5}) {
    for (const bool shard : {true, false}) {
      expect_the_algorithm(LarsRule{.trust = 0.5}, ranks, shard);
      expect_the_algorithm(LambRule{}, ranks, shard);
    }
  }
}

TEST(TrustRatios, AreNotMissedWhereThereAreNoParameters) {
  const auto backend = make_cpu_backend(1);
  const auto communicators = make_thread_communicators(1, {});
  const auto stream = backend->make_stream("compute");
  const Tensor sums = backend->allocate_tensor(DType::fp32, Shape{3}, MemoryKind::input);
  std::ranges::fill(sums.view().span<float>(), 1.0F);
  ShardedOptimizer optimizer(*backend, *communicators.front(), {}, constant_scale(1, LarsRule{}));
  optimizer.initialize(/*seed=*/7);

  optimizer.begin_step(*stream);
  const TensorView all = sums.view();
  optimizer.finish_step(*stream, all.slice(0, 1), all.slice(1, 2), all.slice(2, 3), {});
  optimizer.drain();
  EXPECT_EQ(optimizer.state().attempted, 1);
}

}  // namespace
}  // namespace minim

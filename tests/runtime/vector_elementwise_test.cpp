#include "minim/runtime/kernels/elementwise.h"
#include "minim/runtime/kernels/state.h"
#include "runtime/vector_case.h"

namespace minim {
namespace {

using vector_case::expect_same;
using vector_case::kUnit;
using vector_case::value_at;

/// Fewer elements than a vector, whole vectors, and more with a rest.
constexpr std::int64_t kCounts[] = {0, 1, 3, 17, 64, 100, 1031};

class VectorElementwise : public vector_case::VectorCase {
 protected:
  /// Random numbers of both signs with zeros of both signs, NaN and infinities among them.
  Tensor make_special(DType dtype, std::int64_t count, std::uint32_t seed) {
    constexpr double kSpecial[] = {0.0, -0.0, NAN, INFINITY, -INFINITY, -NAN};
    const Tensor tensor = make_filled(dtype, {count}, seed);
    for (std::int64_t i = 0; i < count; ++i) {
      if (i % 5 == 2) vector_case::set_value(tensor, i, kSpecial[i / 5 % 6]);
    }
    return tensor;
  }

  /// Runs `args` on both backends, each writing to its own tensor by `set_output(args, tensor)`, and compares every bit.
  template <class Args, class SetOutput>
  void expect_oracle(Args args, DType dtype, const Shape& shape, const SetOutput& set_output, const std::string& what) {
    const Tensor found = make_filled(dtype, shape, 99);
    const Tensor wanted = make_filled(dtype, shape, 98);
    set_output(args, found);
    run_fast(args);
    set_output(args, wanted);
    run_oracle(args);
    expect_same(found, wanted, what);
  }
};

std::string describe(DType dtype, std::int64_t count) { return std::string(name(dtype)) + " [" + std::to_string(count) + "]"; }

TEST_P(VectorElementwise, ReluEqualsTheOracle) {
  for (const DType dtype : vector_case::kFloatingTypes) {
    for (const std::int64_t count : kCounts) {
      const Tensor x = make_special(dtype, count, 1);
      expect_oracle(
          ReluForward{.x = x, .y = {}}, dtype, {count}, [](auto& args, const Tensor& y) { args.y = y; },
          "forward " + describe(dtype, count));
      const Tensor dy = make_special(dtype, count, 2);
      expect_oracle(
          ReluBackward{.y = x, .dy = dy, .dx = {}}, dtype, {count}, [](auto& args, const Tensor& dx) { args.dx = dx; },
          "backward " + describe(dtype, count));
    }
  }
}

TEST_P(VectorElementwise, ReluTreatsEveryHalfAsTheOracle) {
  const Tensor x = make(DType::fp16, {0x10000});
  for (std::size_t i = 0; i < 0x10000; ++i) x.view().span<Half>()[i].bits = static_cast<std::uint16_t>(i);
  const Tensor dy = make_filled(DType::fp16, {0x10000}, 1, 1, 2);
  expect_oracle(
      ReluForward{.x = x, .y = {}}, DType::fp16, {0x10000}, [](auto& args, const Tensor& y) { args.y = y; }, "forward");
  expect_oracle(
      ReluBackward{.y = x, .dy = dy, .dx = {}}, DType::fp16, {0x10000}, [](auto& args, const Tensor& dx) { args.dx = dx; },
      "backward");
}

TEST_P(VectorElementwise, ReluWorksInPlaceAndOnThreads) {
  constexpr std::int64_t kCount = 100003;
  const Tensor x = make_special(DType::bf16, kCount, 1);
  const Tensor wanted = make(DType::bf16, {kCount});
  run_oracle(ReluForward{.x = x, .y = wanted});
  use_threads(3);
  run_fast(ReluForward{.x = x, .y = x});
  expect_same(x, wanted, "in place");
}

TEST_P(VectorElementwise, SumAddsInOrderAndRoundsOnce) {
  for (const DType dtype : vector_case::kFloatingTypes) {
    for (const std::int64_t count : kCounts) {
      Sum args;
      std::vector<Tensor> inputs;
      for (std::uint32_t k = 0; k < 5; ++k) {
        inputs.push_back(make_special(dtype, count, k));
        args.inputs.push_back(inputs.back());
        const std::string what = std::to_string(k + 1) + " of " + describe(dtype, count);
        expect_oracle(
            args, dtype, {count}, [](Sum& sum, const Tensor& y) { sum.y = y; }, what);
      }
      const Tensor mask = make_special(dtype, count, 9);
      args.mask = mask;
      expect_oracle(
          args, dtype, {count}, [](Sum& sum, const Tensor& y) { sum.y = y; }, "masked, of " + describe(dtype, count));
    }
  }
}

TEST_P(VectorElementwise, MaskedSumWorksInPiecesAndOnThreads) {
  constexpr std::int64_t kCount = 100003;
  const Tensor a = make_special(DType::fp16, kCount, 1), b = make_special(DType::fp16, kCount, 2);
  const Tensor mask = make_special(DType::fp16, kCount, 3), wanted = make(DType::fp16, {kCount});
  run_oracle(Sum{.inputs = {a, b}, .mask = mask, .y = wanted});
  for (const int threads : {1, 3}) {
    const Tensor found = make(DType::fp16, {kCount});
    use_threads(threads);
    run_fast(Sum{.inputs = {a, b}, .mask = mask, .y = found});
    expect_same(found, wanted, std::to_string(threads) + " threads");
  }
}

TEST_P(VectorElementwise, SumMayOverwriteAnInput) {
  const Tensor a = make_filled(DType::fp16, {77}, 1), b = make_filled(DType::fp16, {77}, 2), wanted = make(DType::fp16, {77});
  run_oracle(Sum{.inputs = {a, b}, .y = wanted});
  run_fast(Sum{.inputs = {a, b}, .y = b});
  expect_same(b, wanted, "in the place of the second input");
}

TEST_P(VectorElementwise, CastEqualsTheOracleForEveryPairOfTypes) {
  for (const DType from : vector_case::kFloatingTypes) {
    for (const DType to : vector_case::kFloatingTypes) {
      for (const std::int64_t count : kCounts) {
        const Tensor x = make_special(from, count, 1);
        expect_oracle(
            Cast{.x = x, .y = {}}, to, {count}, [](Cast& args, const Tensor& y) { args.y = y; },
            describe(from, count) + " to " + std::string(name(to)));
      }
    }
  }
}

TEST_P(VectorElementwise, CastCopiesIntegersAndRefusesToConvertThem) {
  const Tensor x = make(DType::int64, {9}), y = make(DType::int64, {9}), z = make(DType::int32, {9});
  for (std::int64_t i = 0; i < 9; ++i) x.view().data<std::int64_t>()[i] = (std::int64_t{1} << 40U) + i;
  run_fast(Cast{.x = x, .y = y});
  for (std::int64_t i = 0; i < 9; ++i) EXPECT_EQ(y.view().data<std::int64_t>()[i], (std::int64_t{1} << 40U) + i);
  EXPECT_THROW(run_fast(Cast{.x = x, .y = z}), InvalidArgument);
}

TEST_P(VectorElementwise, ZeroClearsEveryByte) {
  use_threads(2);
  for (const std::int64_t count : {std::int64_t{0}, std::int64_t{5}, std::int64_t{300001}}) {
    const Tensor y = make_filled(DType::fp32, {count}, 1);
    run_fast(Zero{.y = y});
    for (std::int64_t i = 0; i < count; ++i) ASSERT_EQ(value_at(y, i), 0);
  }
}

TEST_P(VectorElementwise, ConcatPutsInputsSideBySideAndBackwardTakesThemApart) {
  for (const DType dtype : vector_case::kFloatingTypes) {
    for (const std::int64_t samples : {0, 1, 5}) {
      const std::vector<std::int64_t> channels{3, 0, 17, 64};
      const Shape whole{samples, 2, 84};
      ConcatForward forward;
      ConcatBackward backward{.dy = {}, .outputs = {}, .channels = channels};
      std::vector<Tensor> inputs, parts;
      for (std::size_t k = 0; k < channels.size(); ++k) {
        const Shape shape{samples, 2, channels[k]};
        inputs.push_back(make_filled(dtype, shape, static_cast<std::uint32_t>(k)));
        forward.inputs.push_back(inputs.back());
        parts.push_back(make(dtype, shape));
        backward.outputs.push_back(k == 0 ? TensorView() : parts.back().view());  // nobody wants the first
      }
      expect_oracle(
          forward, dtype, whole, [](auto& args, const Tensor& y) { args.y = y; }, "forward");
      const Tensor y = make(dtype, whole);
      forward.y = y;
      run_fast(forward);
      backward.dy = y;
      run_fast(backward);
      for (std::size_t k = 1; k < parts.size(); ++k) expect_same(parts[k], inputs[k], "part " + std::to_string(k));
    }
  }
}

TEST_P(VectorElementwise, CommitStateMovesPendingWhereAppliedAndCommittedWhereNot) {
  for (const std::int32_t applied : {0, 1, 7}) {
    const Tensor committed = make_filled(DType::fp32, {21}, 1), pending = make_filled(DType::fp32, {21}, 2);
    const Tensor kept = make_filled(DType::fp32, {21}, applied != 0 ? 2 : 1);
    run_fast(CommitState{.committed = committed, .pending = pending, .applied = make_int32(applied)});
    expect_same(committed, kept, "committed");
    expect_same(pending, kept, "pending");
  }
}

class VectorDropout : public VectorElementwise {
 protected:
  RandomKey make_key(std::int64_t samples) {
    step_ = make(DType::int64, {1});
    step_.span<std::int64_t>()[0] = 12345;
    ids_ = make(DType::int64, {samples});
    for (std::int64_t n = 0; n < samples; ++n) ids_.view().data<std::int64_t>()[n] = (std::int64_t{3} << 32U) + 7 * n;
    return {.seed = 0x123456789ABCDEF0, .operation = 11, .attempted_step = step_, .sample_ids = ids_};
  }

  Tensor step_, ids_;
};

TEST_P(VectorDropout, DrawsTheOraclesMaskAndScalesWhatItKeeps) {
  for (const DType dtype : vector_case::kFloatingTypes) {
    for (const double rate : {0.0, 0.1, 0.5, 0.97}) {
      for (const std::int64_t per_sample : {0, 1, 3, 17, 64, 1027}) {  // the last: two chunks of words
        const Shape shape{3, per_sample};
        const Tensor x = make_filled(dtype, shape, 1, 0.5, 1);
        const Tensor found = make(dtype, shape), wanted = make(DType::fp32, shape);
        DropoutForward args{.x = x, .y = found, .rate = rate, .random = make_key(3)};
        run_fast(args);
        args.y = wanted;
        run_oracle(args);
        // The factor and the product are rounded to FP32.
        const auto error = [&](std::int64_t i) { return 2 * kUnit * value_at(wanted, i); };
        vector_case::expect_rounded_once(found, wanted, error, describe(dtype, per_sample));
        for (std::int64_t i = 0; i < x.elements(); ++i) ASSERT_EQ(value_at(found, i) == 0, value_at(wanted, i) == 0) << i;
      }
    }
  }
}

TEST_P(VectorDropout, KeepsANumberEqualToTheRateAndDropsOneBelow) {
  const RandomKey key = make_key(1);
  const Tensor x = make_filled(DType::fp32, {1, 50}, 1, 1, 1), y = make(DType::fp32, {1, 50});
  const auto id = static_cast<std::uint64_t>(ids_.view().data<std::int64_t>()[0]);
  for (std::int64_t e = 0; e < 50; ++e) {
    const auto low = [](std::uint64_t value) { return static_cast<std::uint32_t>(value); };
    const auto words = philox({low(static_cast<std::uint64_t>(e / 4)), 12345, low(id), low(id >> 32U)},
                              {low(key.seed) ^ key.operation, low(key.seed >> 32U)});
    const double drawn = uniform(words[static_cast<std::size_t>(e % 4)]);
    run_fast(DropoutForward{.x = x, .y = y, .rate = drawn, .random = key});
    EXPECT_NE(value_at(y, e), 0) << "element " << e << " drew the rate itself";
    run_fast(DropoutForward{.x = x, .y = y, .rate = drawn + 0x1p-26, .random = key});
    EXPECT_EQ(value_at(y, e), 0) << "element " << e << " drew less than the rate";
  }
}

TEST_P(VectorDropout, BackwardDrawsTheForwardMaskAgainAlsoInPlaceAndOnThreads) {
  const Shape shape{5, 3, 4001};
  const Tensor x = make_filled(DType::fp16, shape, 1, 1, 2), y = make(DType::fp16, shape);
  const RandomKey key = make_key(5);
  run_fast(DropoutForward{.x = x, .y = y, .rate = 0.25, .random = key});
  use_threads(3);
  run_fast(DropoutBackward{.dy = x, .dx = x, .rate = 0.25, .random = key});
  expect_same(x, y, "the same mask on the same numbers");
}

TEST_P(VectorDropout, DropsNaNAndInfinityLikeAnyNumber) {
  const Tensor x = make_filled(DType::fp16, {1, 200}, 1, INFINITY, INFINITY), y = make(DType::fp16, {1, 200});
  run_fast(DropoutForward{.x = x, .y = y, .rate = 0.5, .random = make_key(1)});
  int dropped = 0;
  for (std::int64_t i = 0; i < 200; ++i) {
    ASSERT_TRUE(value_at(y, i) == 0 || !std::isfinite(value_at(y, i)));
    dropped += value_at(y, i) == 0 ? 1 : 0;
  }
  EXPECT_GT(dropped, 50);
  EXPECT_LT(dropped, 150);
}

MINIM_FOR_EACH_INSTRUCTION_SET(VectorElementwise);
MINIM_FOR_EACH_INSTRUCTION_SET(VectorDropout);

}  // namespace
}  // namespace minim

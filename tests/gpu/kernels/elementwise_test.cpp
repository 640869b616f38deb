#include "minim/runtime/kernels/elementwise.h"

#include "gpu/kernels/kernel_case.h"
#include "minim/runtime/kernels/state.h"

namespace minim::gpu {
namespace {

class CudaElementwise : public KernelCase {
 protected:
  /// Calls `check(dtype, shape, offset, what)` for all types, counts and offsets.
  template <class Check>
  static void for_each_case(const Check& check) {
    for (const DType dtype : kFloatingTypes) {
      for (const std::int64_t count : kCounts) {
        for (const std::int64_t offset : kOffsets) check(dtype, Shape{count}, offset, describe(dtype, {count}, offset));
      }
    }
  }

  /// All values of a type of 16 bits.
  Twin make_all(DType dtype) {
    const Twin twin = make(dtype, {0x10000});
    auto* bits = static_cast<std::uint16_t*>(twin.host().raw());
    for (std::int64_t i = 0; i < 0x10000; ++i) bits[i] = static_cast<std::uint16_t>(i);
    twin.upload();
    return twin;
  }
};

TEST_F(CudaElementwise, ReluEqualsTheCpu) {
  for_each_case([&](DType dtype, const Shape& shape, std::int64_t offset, const std::string& what) {
    const Twin x = make_special(dtype, shape, 1, offset), dy = make_special(dtype, shape, 2, offset);
    const Twin y = make(dtype, shape, offset), dx = make(dtype, shape, offset);
    run_both([&](Side side) { return ReluForward{.x = x[side], .y = y[side]}; });
    expect_equal_values(y, what);
    run_both([&](Side side) { return ReluBackward{.y = x[side], .dy = dy[side], .dx = dx[side]}; });
    expect_equal_values(dx, what + " backward");
  });
}

TEST_F(CudaElementwise, ReluTreatsEveryHalfAndBFloat16AsTheCpu) {
  for (const DType dtype : {DType::fp16, DType::bf16}) {
    const Twin x = make_all(dtype), dy = make_filled(dtype, {0x10000}, 1, 1, 2);
    const Twin y = make(dtype, {0x10000}), dx = make(dtype, {0x10000});
    run_both([&](Side side) { return ReluForward{.x = x[side], .y = y[side]}; });
    expect_equal_bits(y, "forward");
    run_both([&](Side side) { return ReluBackward{.y = x[side], .dy = dy[side], .dx = dx[side]}; });
    expect_equal_bits(dx, "backward");
  }
}

TEST_F(CudaElementwise, ReluWorksInPlace) {
  for_each_case([&](DType dtype, const Shape& shape, std::int64_t offset, const std::string& what) {
    const Twin x = make_special(dtype, shape, 1, offset), dy = make_special(dtype, shape, 2, offset);
    run_both([&](Side side) { return ReluForward{.x = x[side], .y = x[side]}; });
    expect_equal_values(x, what);
    run_both([&](Side side) { return ReluBackward{.y = x[side], .dy = dy[side], .dx = dy[side]}; });
    expect_equal_values(dy, what + " backward");
  });
}

TEST_F(CudaElementwise, SumAddsInTheCpusOrder) {
  for_each_case([&](DType dtype, const Shape& shape, std::int64_t offset, const std::string& what) {
    for (const std::size_t inputs : {1U, 2U, 3U, 8U, 9U}) {  // the last: more than travel with the usual launch
      std::vector<Twin> x;
      for (std::size_t k = 0; k < inputs; ++k) {
        // The second alone is not aligned, unless all are not.
        x.push_back(make_special(dtype, shape, static_cast<std::uint32_t>(k), k == 1 ? 1 : offset));
      }
      const Twin y = make(dtype, shape, offset);
      run_both([&](Side side) {
        Sum args{.inputs = {}, .y = y[side]};
        for (const Twin& input : x) args.inputs.emplace_back(input[side]);
        return args;
      });
      expect_equal_values(y, what + " of " + std::to_string(inputs));
    }
  });
}

TEST_F(CudaElementwise, SumIsMaskedAsTheCpus) {
  for_each_case([&](DType dtype, const Shape& shape, std::int64_t offset, const std::string& what) {
    for (const std::int64_t mask_offset : {offset, std::int64_t{1}}) {
      const Twin a = make_special(dtype, shape, 1, offset), b = make_special(dtype, shape, 2, offset);
      const Twin mask = make_special(dtype, shape, 3, mask_offset), y = make(dtype, shape, offset);
      run_both([&](Side side) { return Sum{.inputs = {a[side], b[side]}, .mask = mask[side], .y = y[side]}; });
      expect_equal_values(y, what + ", mask at " + std::to_string(mask_offset));
    }
  });
}

TEST_F(CudaElementwise, SumMayOverwriteAnInput) {
  const Twin a = make_filled(DType::fp16, {1031}, 1), b = make_filled(DType::fp16, {1031}, 2);
  run_both([&](Side side) { return Sum{.inputs = {a[side], b[side], a[side]}, .y = b[side]}; });
  expect_equal_values(b, "b");
}

TEST_F(CudaElementwise, SumRefusesNoInputAndMoreThanItHolds) {
  const Twin x = make_filled(DType::fp16, {3}, 1);
  EXPECT_THROW(device().prepare(Sum{.inputs = {}, .y = x[Side::device]}), InvalidArgument);
  EXPECT_THROW(device().prepare(Sum{.inputs = std::vector<ConstTensorView>(257, x[Side::device]), .y = x[Side::device]}),
               InvalidArgument);
}

/// Of the 2^32 floats: every sign, exponent and upper mantissa bits, with lower bits that are zero, rounded down, ties and
/// rounded up for both narrow types.
std::vector<float> floats_around_every_rounding() {
  std::vector<float> values;
  for (std::uint32_t high = 0; high < 0x10000; ++high) {
    for (const std::uint32_t low : {0x0U, 0x1U, 0xFFFU, 0x1000U, 0x1001U, 0x2FFFU, 0x3000U, 0x7FFFU, 0x8000U, 0x8001U, 0xFFFFU}) {
      values.push_back(std::bit_cast<float>(high << 16U | low));
    }
  }
  return values;
}

TEST_F(CudaElementwise, CastOfEveryHalfAndBFloat16EqualsTheCpuBitForBit) {
  for (const DType from : {DType::fp16, DType::bf16}) {
    for (const DType to : kFloatingTypes) {
      const Twin x = make_all(from), y = make(to, {0x10000});
      run_both([&](Side side) { return Cast{.x = x[side], .y = y[side]}; });
      expect_equal_bits(y, std::string(name(from)) + " to " + std::string(name(to)));
    }
  }
}

TEST_F(CudaElementwise, CastOfFloatsEqualsTheCpuBitForBit) {
  const Twin x = make_from(floats_around_every_rounding());
  for (const DType to : kFloatingTypes) {
    const Twin y = make(to, x.host().shape());
    run_both([&](Side side) { return Cast{.x = x[side], .y = y[side]}; });
    expect_equal_bits(y, "fp32 to " + std::string(name(to)));
  }
}

TEST_F(CudaElementwise, CastCoversCountsAndAlignments) {
  for_each_case([&](DType from, const Shape& shape, std::int64_t offset, const std::string& what) {
    for (const DType to : kFloatingTypes) {
      for (const std::int64_t to_offset : kOffsets) {
        const Twin x = make_special(from, shape, 1, offset), y = make(to, shape, to_offset);
        run_both([&](Side side) { return Cast{.x = x[side], .y = y[side]}; });
        expect_equal_bits(y, what + " to " + describe(to, shape, to_offset));
      }
    }
  });
}

TEST_F(CudaElementwise, CastCopiesIntegersAndRefusesToConvertThem) {
  const Twin small = make_from(std::vector<std::int32_t>{1, -2, 1 << 30}), small_copy = make(DType::int32, {3});
  run_both([&](Side side) { return Cast{.x = small[side], .y = small_copy[side]}; });
  expect_equal_bits(small_copy, "int32");
  const Twin large = make_from(std::vector<std::int64_t>{1, -2, std::int64_t{1} << 60U}), large_copy = make(DType::int64, {3});
  run_both([&](Side side) { return Cast{.x = large[side], .y = large_copy[side]}; });
  expect_equal_bits(large_copy, "int64");
  EXPECT_THROW(device().prepare(Cast{.x = small[Side::device], .y = large[Side::device]}), InvalidArgument);
}

TEST_F(CudaElementwise, ZeroClearsEveryByteAndNoOther) {
  for (const DType dtype : {DType::uint8, DType::fp16, DType::fp32, DType::int64}) {
    for (const std::int64_t count : kCounts) {
      for (const std::int64_t offset : kOffsets) {
        const Twin y = make(dtype, {count}, offset);
        run_both([&](Side side) { return Zero{.y = y[side]}; });
        expect_equal_bits(y, describe(dtype, {count}, offset));
      }
    }
  }
}

TEST_F(CudaElementwise, CommitStateGoesTheWayThatTheStepWent) {
  for (const std::int32_t applied : {0, 1, -1}) {
    const Twin flag = make_from(std::vector<std::int32_t>{applied});
    for (const std::int64_t count : kCounts) {
      for (const std::int64_t offset : kOffsets) {
        const Twin committed = make_special(DType::fp32, {count}, 1, offset), pending = make_special(DType::fp32, {count}, 2);
        run_both([&](Side side) {
          return CommitState{.committed = committed[side], .pending = pending[side], .applied = flag[side]};
        });
        expect_equal_bits(committed, "committed " + describe(DType::fp32, {count}, offset));
        expect_equal_bits(pending, "pending " + describe(DType::fp32, {count}, offset));
      }
    }
  }
}

TEST_F(CudaElementwise, StridesOverWhatIsLargerThanTheGrid) {
  constexpr std::int64_t kCount =
      3 * 4096 * 256 + 5;  // a grid has at most 4096 blocks of 256 threads; unaligned: one element each
  const Twin x = make_filled(DType::fp16, {kCount}, 1, -1, 1, 1), y = make(DType::fp16, {kCount});
  run_both([&](Side side) { return ReluForward{.x = x[side], .y = y[side]}; });
  expect_equal_bits(y, "y");
}

}  // namespace
}  // namespace minim::gpu

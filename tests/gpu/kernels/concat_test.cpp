#include "gpu/kernels/kernel_case.h"
#include "minim/runtime/kernels/elementwise.h"

namespace minim::gpu {
namespace {

struct Split {
  std::vector<std::int64_t> channels;
  std::vector<std::int64_t> leading;  ///< extents before the channels
};

/// Widths that fit words of 16, 4, 2 and 1 bytes, a row wider than a block, nothing, and many rows.
const Split kSplits[] = {
    {{8, 16, 24}, {2, 3}},
    {{2, 6}, {5}},
    {{1, 2, 3}, {2, 2, 2}},
    {{0, 4}, {3}},
    {{7}, {1}},
    {{3000, 5}, {3}},
    {{64, 64}, {0, 4}},
    {{0}, {4}},
    {{8, 8}, {700, 3}},
    {{16, 16, 16, 16, 16}, {9}},
};

class CudaConcat : public KernelCase {
 protected:
  static Shape shape(const Split& split, std::int64_t channels) {
    std::vector<std::int64_t> dims = split.leading;
    dims.push_back(channels);
    return Shape(dims);
  }
  static std::int64_t total(const Split& split) {
    std::int64_t sum = 0;
    for (const std::int64_t channels : split.channels) sum += channels;
    return sum;
  }
};

TEST_F(CudaConcat, PutsTheInputsSideBySide) {
  for (const DType dtype : {DType::fp32, DType::fp16, DType::bf16, DType::uint8}) {
    for (const std::int64_t offset : kOffsets) {
      for (const Split& split : kSplits) {
        std::vector<Twin> inputs;
        for (const std::int64_t channels : split.channels) {
          inputs.push_back(make(dtype, shape(split, channels), offset));
          auto* bytes = static_cast<unsigned char*>(inputs.back().host().raw());
          for (std::int64_t i = 0; i < inputs.back().host().size_bytes(); ++i) {
            bytes[i] = static_cast<unsigned char>(31 * i + 7 * channels);
          }
          inputs.back().upload();
        }
        const Twin y = make(dtype, shape(split, total(split)), offset);
        run_both([&](Side side) {
          ConcatForward args{.inputs = {}, .y = y[side]};
          for (const Twin& input : inputs) args.inputs.emplace_back(input[side]);
          return args;
        });
        expect_equal_bits(y, describe(dtype, y.host().shape(), offset));
      }
    }
  }
}

TEST_F(CudaConcat, TakesTheGradientApartAndLeavesOutWhatNobodyWants) {
  for (const DType dtype : kFloatingTypes) {
    for (const std::int64_t offset : kOffsets) {
      for (const Split& split : kSplits) {
        const Twin dy = make_filled(dtype, shape(split, total(split)), 1, -1, 1, offset);
        std::vector<Twin> outputs;
        for (const std::int64_t channels : split.channels) outputs.push_back(make(dtype, shape(split, channels), offset));
        run_both([&](Side side) {
          ConcatBackward args{.dy = dy[side], .outputs = {}, .channels = split.channels};
          for (std::size_t k = 0; k < outputs.size(); ++k) args.outputs.push_back(k == 1 ? TensorView() : outputs[k][side]);
          return args;
        });
        for (const Twin& output : outputs) expect_equal_bits(output, describe(dtype, output.host().shape(), offset));
      }
    }
  }
}

}  // namespace
}  // namespace minim::gpu

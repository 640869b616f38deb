#include "minim/runtime/kernels/exponents.h"

#include "gpu/kernels/kernel_case.h"
#include "runtime/exponent_oracle.h"

namespace minim::gpu {
namespace {

class CudaExponents : public KernelCase {
 protected:
  /// Counts on top of ones, so that a kernel that does not add is seen.
  std::vector<std::int64_t> count(const Twin& x, const ConstTensorView& valid_samples = {}) {
    const Twin counts = make(DType::int64, {kMantissas, kExponents});
    std::ranges::fill(counts.host().span<std::int64_t>(), 1);
    counts.upload();
    run_device(CountExponents{.x = x[Side::device], .valid_samples = valid_samples, .counts = counts[Side::device]});
    std::vector<std::int64_t> found;
    const Tensor downloaded = counts.download(host());
    for (const std::int64_t count : downloaded.view().span<std::int64_t>()) found.push_back(count - 1);
    return found;
  }
  Twin make_widely(DType dtype, const Shape& shape, std::int64_t offset) {
    const Twin x = make(dtype, shape, offset);
    exponent_oracle::fill_widely(x.host(), 7);
    x.upload();
    return x;
  }
};

TEST_F(CudaExponents, AreThoseOfTheOracleForAllTypesCountsAndAlignments) {
  for (const DType dtype : kFloatingTypes) {
    for (const std::int64_t n : kCounts) {
      for (const std::int64_t offset : kOffsets) {
        const Twin x = make_widely(dtype, {n}, offset);
        EXPECT_EQ(count(x), exponent_oracle::count(x.host(), n)) << describe(dtype, {n}, offset);
      }
    }
  }
}

TEST_F(CudaExponents, OfFloatsAtEveryBoundary) {
  const Twin x = make_from(exponent_oracle::boundaries());
  EXPECT_EQ(count(x), exponent_oracle::count(x.host(), x.host().elements()));
}

TEST_F(CudaExponents, OfValidSamplesOnly) {
  for (const std::int64_t offset : kOffsets) {
    const Twin x = make_widely(DType::fp16, {5, 7, 3}, offset);
    for (const std::int32_t valid : {-1, 0, 1, 4, 5, 6}) {
      const Twin samples = make_from(std::vector<std::int32_t>{valid});
      EXPECT_EQ(count(x, samples[Side::device]), exponent_oracle::count(x.host(), std::clamp(valid, 0, 5) * 21)) << valid;
    }
  }
}

TEST_F(CudaExponents, StrideOverWhatIsLargerThanTheGrid) {
  constexpr std::int64_t kCount = 1024 * 256 + 77;  // a grid has at most 1024 blocks of 256 threads; unaligned: one element each
  const Twin x = make_widely(DType::fp16, {kCount}, 1);
  EXPECT_EQ(count(x), exponent_oracle::count(x.host(), kCount));
}

}  // namespace
}  // namespace minim::gpu

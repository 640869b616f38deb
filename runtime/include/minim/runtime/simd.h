#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "minim/runtime/half.h"
#include "minim/runtime/tensor.h"

/// Vectorised pieces for code that runs on the CPU: each call picks the widest instruction set of the machine.
namespace minim::simd {

/// What vector code is compiled for, narrowest first: no assumption beyond the compiler's baseline; AVX2 with FMA and F16C;
/// AVX-512 F, VL, DQ and BW.
enum class InstructionSet : std::uint8_t { portable, avx2, avx512 };

/// "portable", "avx2", "avx512".
std::string_view name(InstructionSet set);
/// The set that calls use from now on.
InstructionSet instruction_set();
/// The sets that this build holds and this machine runs, narrowest first.
std::vector<InstructionSet> available_instruction_sets();
/// For tests: calls use `set`, in the whole process, until told otherwise. Throws InvalidArgument when it is not available.
void limit_instruction_set(InstructionSet set);

/// Every element of `from` in `to`'s type: fp32, fp16 or bf16 to any of them, rounded to nearest even exactly as `to_half` and
/// `to_bfloat16` round; other types to themselves. The two have equally many elements and do not overlap, or are the same
/// memory of one type. Uses the calling thread's OpenMP threads. Throws InvalidArgument for other types or counts.
void convert(ConstTensorView from, TensorView to);

// Pieces for use inside kernels: `n` elements, one thread, any alignment. Source and destination do not overlap.
void to_float(const Half* from, float* to, std::int64_t n);
void to_float(const BFloat16* from, float* to, std::int64_t n);
void to_float(const float* from, float* to, std::int64_t n);
void from_float(const float* from, Half* to, std::int64_t n);
void from_float(const float* from, BFloat16* to, std::int64_t n);
void from_float(const float* from, float* to, std::int64_t n);
/// to[i] += from[i].
void add(const float* from, float* to, std::int64_t n);

/// For each element i in [begin, end): the sum over `sources` (at least one) in their order, in FP32, times `scale`, rounded once
/// to `dtype` (fp32, fp16 or bf16) and stored at i of every destination. A destination may be a source. One thread.
void reduce_scaled(std::span<const void* const> sources, DType dtype, std::int64_t begin, std::int64_t end, float scale,
                   std::span<void* const> destinations);
/// sums[i - begin] = the sum over `sources` of element i, in their order, in FP32.
void reduce_to_float(std::span<const void* const> sources, DType dtype, std::int64_t begin, std::int64_t end, float* sums);

}  // namespace minim::simd

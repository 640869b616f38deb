#pragma once

/// The instruction sets that vector code is compiled for. Include before any header of Highway.
///
/// HWY_AVX3 (AVX-512 F, VL, DQ, BW) runs on every server CPU with AVX-512; the sets above it add nothing that these kernels use.
/// HWY_AVX2 implies FMA and F16C. Everything else runs HWY_SCALAR: g++ 12.2 miscompiles Highway's 128-bit emulation (GCC bug
/// 106322), and CPUs with SSE4 but without AVX2 are too rare to build for. All three without flags on the compiler's command
/// line.
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)

// The exponential of vectors of floats, for the instruction set that Highway currently compiles for.
#if defined(MINIM_CPU_EXPONENTIAL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MINIM_CPU_EXPONENTIAL_INL_H_
#undef MINIM_CPU_EXPONENTIAL_INL_H_
#else
#define MINIM_CPU_EXPONENTIAL_INL_H_
#endif

#include <hwy/contrib/math/math-inl.h>

#include "cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace minim::cpu::HWY_NAMESPACE {

/// e^x with at most one unit in the last place of error for x <= 0; Highway's turns NaN into 0.
HWY_API VFloats exponential(VFloats x) { return hn::IfThenElse(hn::IsNaN(x), x, hn::Exp(kFloats, x)); }

}  // namespace minim::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard

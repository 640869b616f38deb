#include "cpu/targets.h"

#include <fmt/format.h>
#include <hwy/targets.h>

#include <algorithm>

#include "minim/runtime/simd.h"

namespace minim::simd {

namespace {

std::int64_t target_of(InstructionSet set) {
  switch (set) {
    case InstructionSet::avx512: return HWY_AVX3;
    case InstructionSet::avx2: return HWY_AVX2;
    case InstructionSet::portable: return HWY_BASELINE_SCALAR;
  }
  return HWY_BASELINE_SCALAR;
}

/// What the CPU offers and the build holds, whatever limit is in force.
std::int64_t available_targets() {
  static const std::int64_t targets = hwy::SupportedTargets() & HWY_TARGETS;
  return targets;
}

bool is_available(InstructionSet set) { return (available_targets() & target_of(set)) != 0; }

}  // namespace

std::string_view name(InstructionSet set) {
  switch (set) {
    case InstructionSet::portable: return "portable";
    case InstructionSet::avx2: return "avx2";
    case InstructionSet::avx512: return "avx512";
  }
  return "unknown";
}

InstructionSet instruction_set() {
  const std::int64_t targets = hwy::SupportedTargets() & HWY_TARGETS;
  if ((targets & HWY_AVX3) != 0) return InstructionSet::avx512;
  if ((targets & HWY_AVX2) != 0) return InstructionSet::avx2;
  return InstructionSet::portable;
}

std::vector<InstructionSet> available_instruction_sets() {
  std::vector<InstructionSet> sets;
  for (const auto set : {InstructionSet::portable, InstructionSet::avx2, InstructionSet::avx512}) {
    if (is_available(set)) sets.push_back(set);
  }
  return sets;
}

void limit_instruction_set(InstructionSet set) {
  if (!is_available(set)) throw InvalidArgument(fmt::format("instruction set {} is not available on this machine", name(set)));
  hwy::SetSupportedTargetsForTest(target_of(set));
  hwy::GetChosenTarget().Update(target_of(set));
}

}  // namespace minim::simd

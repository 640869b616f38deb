#pragma once

#include <vector>

#include "minim/runtime/simd.h"
#include "runtime/kernel_case.h"

/// Tests of the vectorised kernels: each runs once for every instruction set of the machine; the widest is in force again after
/// it.
namespace minim::vector_case {

using namespace kernel_case;

inline std::vector<KernelSet> instruction_sets() {
  std::vector<KernelSet> sets;
  for (const auto set : simd::available_instruction_sets()) {
    const auto make = [set] {
      simd::limit_instruction_set(set);
      return make_cpu_backend(1);
    };
    const auto leave = [] { simd::limit_instruction_set(simd::available_instruction_sets().back()); };
    sets.push_back({.name = std::string(simd::name(set)), .set = "cpu", .make_backend = make, .leave = leave});
  }
  return sets;
}

class VectorCase : public KernelCase {
 protected:
  /// From here on the vectorised kernels use `threads` threads.
  void use_threads(int threads) { use_stream(make_cpu_stream("test", threads)); }
};

}  // namespace minim::vector_case

/// Registers the tests of `suite` for every instruction set that this machine runs.
#define MINIM_FOR_EACH_INSTRUCTION_SET(suite) \
  INSTANTIATE_TEST_SUITE_P(Sets, suite, testing::ValuesIn(minim::vector_case::instruction_sets()), minim::kernel_case::set_name)

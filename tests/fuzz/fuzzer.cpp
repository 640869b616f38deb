#include <algorithm>

#include "fuzz/targets.h"

/// Called by libFuzzer's main function. MINIM_FUZZ_TARGET is the name of a target.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using minim::testing::fuzz_targets;
  static const auto target = std::ranges::find(fuzz_targets(), MINIM_FUZZ_TARGET, &minim::testing::FuzzTarget::name);
  target->read({data, size});
  return 0;
}

#include "minim/runtime/kernels/exponents.h"

#include <bit>

#include "reference/elements.h"
#include "reference/kernels.h"

namespace minim::reference {

void run(const CountExponents& args) {
  const Input x(args.x);
  auto* const counts = args.counts.data<std::int64_t>();
  const bool has_samples = args.valid_samples.present();
  const std::int64_t elements =
      has_samples ? *args.valid_samples.data<std::int32_t>() * args.x.shape().elements_per_sample() : args.x.elements();
  for (std::int64_t i = 0; i < elements; ++i) {
    const auto bits = std::bit_cast<std::uint32_t>(x[i]);
    counts[static_cast<int>(mantissa_of(bits)) * kExponents + exponent_of(bits)] += 1;
  }
}

}  // namespace minim::reference

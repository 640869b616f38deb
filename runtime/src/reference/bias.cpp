#include <vector>

#include "reference/elements.h"
#include "reference/kernels.h"

namespace minim::reference {

void run(const AddBias& args) {
  const Input bias(args.bias);
  const Output y(args.y);
  for (std::int64_t i = 0; i < args.y.elements(); ++i) y.store(i, double{y[i]} + bias[i % args.bias.elements()]);
}

void run(const BiasGradient& args) {
  const Input dy(args.dy);
  const Output dbias(args.dbias);
  std::vector<double> sums(static_cast<std::size_t>(args.dbias.elements()));
  for (std::int64_t i = 0; i < args.dy.elements(); ++i) sums[static_cast<std::size_t>(i % args.dbias.elements())] += dy[i];
  for (std::int64_t c = 0; c < args.dbias.elements(); ++c) {
    dbias.store(c, sums[static_cast<std::size_t>(c)] + (args.accumulate ? dbias[c] : 0.0));
  }
}

}  // namespace minim::reference

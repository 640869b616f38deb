#include "kernel_sets.h"

namespace minim {

void add_reference_kernels(Backend&) {}

}  // namespace minim

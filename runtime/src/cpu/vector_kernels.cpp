#include "cpu/vector_kernels.h"

#include "kernel_sets.h"

namespace minim {

void add_vector_kernels(Backend& /*backend*/) {}

}  // namespace minim

#include "kernel_sets.h"

namespace minim {

void add_onednn_kernels(Backend&) {}

}  // namespace minim

#pragma once

// Makes a .cu file C++: put before it by g++ -include. See README.md for what such a file may use.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "emulation/intrinsics.h"
#include "emulation/registration.h"

#undef __global__
#undef __host__
#undef __device__
#undef __shared__
#undef __launch_bounds__
// A kernel is found by its exported name. Shared memory is the running block's: blocks of a thread run one after the other.
#define __global__ __attribute__((visibility("default")))
#define __host__
#define __device__
#define __shared__ static thread_local
#define __launch_bounds__(...)

#define MINIM_ON_KERNEL(kernel) ::minim::emulation::register_on_load<kernel>()

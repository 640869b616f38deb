#pragma once

/// Marks a function that runs on the CPU and on a GPU. Both compute the same bits as long as it keeps to additions, products,
/// divisions and square roots: those are rounded alike everywhere, and no compiler of ours may fuse them.
#ifdef __CUDACC__
#define MINIM_HOST_DEVICE __host__ __device__
#else
#define MINIM_HOST_DEVICE
#endif

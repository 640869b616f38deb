#pragma once

#include "minim/comm/communicator.h"

namespace minim {

/// From here on NCCL moves the data of collectives whose tensors lie in the memory of `backend`, a CUDA backend, and `allocate`
/// gives memory of it that is registered with NCCL. All else stays with the communicator: it compares what the ranks call before
/// NCCL gets to see it, names who is missing, and moves tensors of the host as before. The tensors of one collective lie on
/// devices on all ranks, or on none.
///
/// A collective call, of a communicator over threads, MPI or TCP whose ranks have a device each. Throws DeviceError or CommError.
///
/// NCCL adds in an order of its own and rounds FP16 and BF16 at every hop: a sum of W ranks is within W u sum(|x|) of the exact
/// one, u = 2^-11 for FP16, 2^-8 for BF16 and 2^-24 for FP32. Every rank gets the same bits; `reduce_scatter` and `all_reduce`
/// may differ. Where memory is from `allocate` and nothing is scaled, ranks that reach each other's memory add in FP32 and round
/// once. Sums are scaled rank by rank before they are added: by 2^-24 to 2^15 in FP16. `reduce_scatter_fp32` is exact as
/// elsewhere: FP32 sums in the order of ranks.
void use_nccl(Communicator& communicator, Backend& backend);

}  // namespace minim

#pragma once

#include <memory>

#include "device_collectives.h"

namespace minim::nccl {

/// NCCL's collectives for the ranks of `group`, of which each calls this, on a stream of high priority of the CUDA device of
/// `backend`. Throws CommError and DeviceError, and has told the group then.
std::unique_ptr<detail::DeviceCollectives> make_nccl_collectives(Communicator& group, Backend& backend,
                                                                 std::chrono::milliseconds deadline);

}  // namespace minim::nccl

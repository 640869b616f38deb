#pragma once

#include <functional>
#include <memory>
#include <string>

#include "minim/comm/communicator.h"
#include "minim/runtime/backend.h"

namespace minim::testing {

/// The CPU backend behind a wall, as a GPU is: memory of `allocate` has addresses that the host faults on when it touches them;
/// kernels and copies get the addresses behind them. Memory is NaN until it is written and never handed out twice. Streams refuse
/// to copy from or to pageable memory, kernels refuse memory of the host.
std::unique_ptr<Backend> make_remote_backend();

/// A tensor as code behind the wall sees it; one of the host as it is.
TensorView behind_the_wall(const TensorView& view);

using MakeBackend = std::function<std::unique_ptr<Backend>()>;

/// Does `work` as every rank of a group, once on the CPU backend and once on a remote one. What it came to, as bytes, must be the
/// same.
void expect_the_same_behind_the_wall(int ranks, const std::function<std::string(Communicator&, const MakeBackend&)>& work);

}  // namespace minim::testing

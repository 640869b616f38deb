#pragma once

#include <functional>

#include "minim/runtime/kernels/convolution.h"

namespace minim::onednn {

// For streams of `threads` OpenMP threads: the work of a launch, and the workspace that it needs.
std::function<void()> prepare(const Conv2dForward& args, int threads);
std::function<void()> prepare(const Conv2dBackwardData& args, int threads);
std::function<void()> prepare(const Conv2dBackwardWeights& args, int threads);
std::int64_t workspace_bytes(const Conv2dForward& args, int threads);
std::int64_t workspace_bytes(const Conv2dBackwardData& args, int threads);
std::int64_t workspace_bytes(const Conv2dBackwardWeights& args, int threads);

}  // namespace minim::onednn

#pragma once

#include <functional>

#include "minim/runtime/kernels/linear.h"

namespace minim::onednn {

// For streams of `threads` OpenMP threads: the work of a launch, and the workspace that it needs.
std::function<void()> prepare(const LinearForward& args, int threads);
std::function<void()> prepare(const LinearBackwardData& args, int threads);
std::function<void()> prepare(const LinearBackwardWeights& args, int threads);
std::int64_t workspace_bytes(const LinearForward& args, int threads);
std::int64_t workspace_bytes(const LinearBackwardData& args, int threads);
std::int64_t workspace_bytes(const LinearBackwardWeights& args, int threads);

}  // namespace minim::onednn

#pragma once

#include <string>
#include <vector>

#include "minim/runtime/kernels/convolution.h"
#include "minim/runtime/kernels/linear.h"

/// Which of oneDNN's implementations kernels would run: one that contains "ref" is slower by three orders of magnitude.
namespace minim::onednn {

std::vector<std::string> implementations(const Conv2dForward& args, int threads);
std::vector<std::string> implementations(const Conv2dBackwardData& args, int threads);
std::vector<std::string> implementations(const Conv2dBackwardWeights& args, int threads);
std::vector<std::string> implementations(const LinearForward& args, int threads);
std::vector<std::string> implementations(const LinearBackwardData& args, int threads);
std::vector<std::string> implementations(const LinearBackwardWeights& args, int threads);

}  // namespace minim::onednn

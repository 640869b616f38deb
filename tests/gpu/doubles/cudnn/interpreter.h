#pragma once

#include <functional>
#include <map>

#include "cudnn/record.h"

namespace cudnn_double {

/// What a tensor's CUDNN_ATTR_TENSOR_UNIQUE_ID is bound to.
using Addresses = std::map<std::int64_t, void*>;

/// What a graph computes on memory of the device, in the order of a stream: a convolution in one of its passes, forward with or
/// without a bias. Refuses other graphs, and tensors that are not where the graph says they are.
std::function<void()> work_of(const Record& graph, const Addresses& addresses);

}  // namespace cudnn_double

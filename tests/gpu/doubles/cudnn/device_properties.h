#pragma once

#include <string>

namespace cudnn_double {

/// What cuDNN reads of a device to plan for it, as it writes it: what the double of libcudart says of that device.
std::string device_properties(int device);

}  // namespace cudnn_double

#pragma once

#include <cstdint>

namespace minim {

/// What becomes of a result before it is rounded and stored.
enum class Activation : std::uint8_t {
  none,
  relu,  ///< max(., 0); NaN stays NaN
};

}  // namespace minim

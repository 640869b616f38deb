#pragma once

#include "minim/runtime/stream.h"

namespace minim {

/// Waits until a stream has got through its work or given it up, after a failure that is on its way to the caller already: what
/// the stream was to copy from may go then.
inline void settle(Stream& stream) noexcept {
  try {
    stream.synchronize();
  } catch (...) {  // the stream's own failure, which stays with the stream
  }
}

}  // namespace minim

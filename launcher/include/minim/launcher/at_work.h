#pragma once

#include <functional>

namespace minim {

/// Called again and again in the course of long work, at least once a second, so that somebody can be told of it: the ranks that
/// wait for this one (`Communicator::keep_alive`), or a display. May be empty.
using AtWork = std::function<void()>;

}  // namespace minim

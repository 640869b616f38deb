#pragma once

#include <cstdint>
#include <vector>

#include "descriptor.h"
#include "minim/comm/tcp.h"

namespace minim::detail {

/// Ranks that have met.
struct Meeting {
  std::vector<Descriptor> peers;        ///< by rank: a TCP connection to it; none to this rank itself
  std::vector<std::uint64_t> machines;  ///< by rank: equal where ranks are on one machine
};

/// Connects every rank with every other. All ranks greet rank 0, which tells each where the others listen. Throws CommError that
/// names the ranks which have not come by the deadline, or what rank 0 objects to.
Meeting meet(const TcpOptions& options);

}  // namespace minim::detail

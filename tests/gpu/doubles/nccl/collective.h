#pragma once

#include <memory>
#include <vector>

#include "nccl/shared_group.h"

namespace nccl_double {

std::size_t size_bytes(ncclDataType_t type);
const char* name(Kind kind);

/// A collective with what this rank brings.
struct Collective {
  Call call;
  float scale = 1;
  const char* send = nullptr;  ///< addresses that the double can reach
  char* receive = nullptr;
};

/// A message to or from another rank.
struct Message {
  int peer = 0;
  char* data = nullptr;
  std::size_t bytes = 0;
  std::size_t done_bytes = 0;
};

/// What the calls of a group send and receive, all at once.
struct Exchange {
  std::vector<Message> sends, receives;
};

/// What streams run; peers run theirs. Both return early when the group fails, and refuse what the ranks do not agree on.
void run(SharedGroup& group, const Collective& collective);
void run(SharedGroup& group, Exchange& exchange);

/// Refuses what the hosts have met for where it differs.
void compare_host_calls(SharedGroup& group);

}  // namespace nccl_double

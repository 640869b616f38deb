#include "minim/comm/nccl.h"

#include <fmt/format.h>

#include "group_communicator.h"
#include "minim/runtime/cuda.h"
#include "minim/runtime/error.h"

namespace minim {

void use_nccl(Communicator& communicator, Backend& backend) {
  auto* const group = dynamic_cast<detail::GroupCommunicator*>(&communicator);
  if (group == nullptr) {
    throw InvalidArgument(fmt::format("communicator \"{}\" cannot have its data moved by NCCL", communicator.name()));
  }
  using Make = detail::DeviceCollectives* (*)(Communicator&, Backend&, std::chrono::milliseconds);
  const auto make = reinterpret_cast<Make>(cuda_module_symbol("minim_make_nccl_collectives"));
  group->use_device(std::unique_ptr<detail::DeviceCollectives>(make(communicator, backend, group->deadline())));
}

}  // namespace minim

#include <fmt/format.h>

#include "group_communicator.h"
#include "heap_segment.h"
#include "mailbox_transport.h"
#include "minim/runtime/error.h"

namespace minim {
namespace detail {
namespace {

class ThreadCommunicator final : public GroupCommunicator {
 public:
  ThreadCommunicator(std::string_view group_name, const Topology& topology, std::shared_ptr<HeapSegment> memory,
                     std::unique_ptr<Transport> transport, std::chrono::milliseconds deadline)
      : GroupCommunicator(group_name, topology, memory->segment(), std::move(transport), deadline), memory_(std::move(memory)) {}
  ~ThreadCommunicator() override { node().leave(); }

  Buffer allocate(Backend& backend, std::int64_t size_bytes, MemoryKind kind) override;

 private:
  std::shared_ptr<HeapSegment> memory_;
};

Buffer ThreadCommunicator::allocate(Backend& backend, std::int64_t size_bytes, MemoryKind kind) {
  if (uses_device() && !backend.host_accessible()) return allocate_on_device(backend, size_bytes, kind);
  auto memory = std::make_shared<Buffer>(backend.allocate(size_bytes, kind));
  std::vector<std::int64_t> addresses(static_cast<std::size_t>(size()));
  addresses[static_cast<std::size_t>(rank())] = reinterpret_cast<std::intptr_t>(memory->data());
  const TensorView exchanged(addresses.data(), DType::int64, Shape{size()});
  all_gather(exchanged, {.label = fmt::format("allocation of {} bytes", size_bytes), .after = {}}).wait();
  std::vector<std::byte*> bases;
  for (const int r : topology().local_ranks())
    bases.push_back(reinterpret_cast<std::byte*>(addresses[static_cast<std::size_t>(r)]));
  const std::int32_t allocation = registry()->add(std::move(bases), topology().local_rank, size_bytes);
  void* const data = memory->data();
  return {data, size_bytes, kind, nullptr, [memory = std::move(memory), registry = registry(), allocation](void*) mutable {
            registry->release(allocation);
            memory.reset();
          }};
}

}  // namespace
}  // namespace detail

std::vector<std::unique_ptr<Communicator>> make_thread_communicators(int size, ThreadGroupOptions options) {
  if (size < 1) throw InvalidArgument(fmt::format("a group has at least one rank, {} were asked for", size));
  const int ranks_per_node = options.ranks_per_node > 0 ? options.ranks_per_node : size;
  std::vector<int> colours;
  for (int r = 0; r < size; ++r) colours.push_back(r / ranks_per_node);
  const auto fabric = std::make_shared<detail::MailboxFabric>(size);
  std::vector<std::shared_ptr<detail::HeapSegment>> segments;
  std::vector<std::unique_ptr<Communicator>> communicators;
  for (int r = 0; r < size; ++r) {
    const detail::Topology topology = detail::make_topology(r, colours);
    if (topology.local_rank == 0) segments.push_back(std::make_shared<detail::HeapSegment>(topology.local_size()));
    std::unique_ptr<detail::Transport> transport;
    if (topology.nodes() > 1) transport = std::make_unique<detail::MailboxTransport>(fabric, r);
    communicators.push_back(std::make_unique<detail::ThreadCommunicator>(
        "thread", topology, segments[static_cast<std::size_t>(topology.node)], std::move(transport), options.deadline));
  }
  return communicators;
}

std::unique_ptr<Communicator> make_self_communicator() {
  const detail::Topology topology = detail::make_topology(0, {0});
  return std::make_unique<detail::ThreadCommunicator>("self", topology, std::make_shared<detail::HeapSegment>(1), nullptr,
                                                      std::chrono::hours(24));
}

}  // namespace minim

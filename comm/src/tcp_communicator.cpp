#include <fmt/format.h>

#include <charconv>
#include <cstdlib>
#include <numeric>
#include <string_view>

#include "group_communicator.h"
#include "heap_segment.h"
#include "minim/comm/tcp.h"
#include "minim/runtime/error.h"
#include "rendezvous.h"
#include "tcp_transport.h"

namespace minim {
namespace detail {
namespace {

/// Every rank is a node of its own as far as messages go.
Topology message_topology(const TcpOptions& options) {
  std::vector<int> colours(static_cast<std::size_t>(options.size));
  std::iota(colours.begin(), colours.end(), 0);
  return make_topology(options.rank, colours);
}

Topology machine_topology(int rank, const std::vector<std::uint64_t>& machines) {
  std::vector<int> colours;
  for (const std::uint64_t machine : machines) {
    colours.push_back(static_cast<int>(std::find(machines.begin(), machines.end(), machine) - machines.begin()));
  }
  return make_topology(rank, colours);
}

class TcpCommunicator final : public GroupCommunicator {
 public:
  TcpCommunicator(const TcpOptions& options, Topology machines, std::unique_ptr<HeapSegment> memory,
                  std::unique_ptr<Transport> transport)
      : GroupCommunicator("tcp", message_topology(options), memory->segment(), std::move(transport), options.deadline),
        machines_(std::move(machines)),
        memory_(std::move(memory)) {}
  ~TcpCommunicator() override { close_transport(); }

  int nodes() const override { return machines_.nodes(); }
  int node_of(int rank) const override { return machines_.node_of.at(static_cast<std::size_t>(rank)); }

  Buffer allocate(Backend& backend, std::int64_t size_bytes, MemoryKind kind) override {
    if (!backend.host_accessible()) return allocate_on_device(backend, size_bytes, kind);
    barrier({.label = fmt::format("allocation of {} bytes", size_bytes), .after = {}}).wait();
    return backend.allocate(size_bytes, kind);
  }

 private:
  Topology machines_;
  std::unique_ptr<HeapSegment> memory_;
};

std::optional<int> number_in(const char* variable) {
  const char* const text = std::getenv(variable);
  if (text == nullptr) return std::nullopt;
  const std::string_view digits(text);
  int number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || end != digits.data() + digits.size()) {
    throw InvalidArgument(fmt::format("{}={} is no number", variable, text));
  }
  return number;
}

/// The first variable that is set decides.
int number_in_one_of(const char* variable, const char* of_slurm) {
  if (const auto number = number_in(variable)) return *number;
  if (const auto number = number_in(of_slurm)) return *number;
  throw InvalidArgument(fmt::format("MINIM_RENDEZVOUS is set, but neither {} nor {}", variable, of_slurm));
}

}  // namespace
}  // namespace detail

std::optional<TcpOptions> tcp_options_of_environment() {
  const char* const rendezvous = std::getenv("MINIM_RENDEZVOUS");
  if (rendezvous == nullptr) return std::nullopt;
  TcpOptions options;
  options.rank = detail::number_in_one_of("MINIM_RANK", "SLURM_PROCID");
  options.size = detail::number_in_one_of("MINIM_WORLD_SIZE", "SLURM_NTASKS");
  options.rendezvous = rendezvous;
  if (options.size < 1 || options.rank < 0 || options.rank >= options.size) {
    throw InvalidArgument(
        fmt::format("this process is rank {} of {}, says the environment: ranks are counted from 0", options.rank, options.size));
  }
  return options;
}

std::unique_ptr<Communicator> make_tcp_communicator(const TcpOptions& options) {
  detail::Meeting meeting = detail::meet(options);
  auto machines = detail::machine_topology(options.rank, meeting.machines);
  std::unique_ptr<detail::Transport> transport;
  if (options.size > 1) transport = std::make_unique<detail::TcpTransport>(std::move(meeting.peers));
  return std::make_unique<detail::TcpCommunicator>(options, std::move(machines), std::make_unique<detail::HeapSegment>(1),
                                                   std::move(transport));
}

}  // namespace minim

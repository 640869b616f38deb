#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "device_collectives.h"
#include "group_collective.h"
#include "queued_communicator.h"

namespace minim::detail {

/// A communicator whose ranks share memory within a node and exchange messages between nodes.
class GroupCommunicator : public QueuedCommunicator {
 public:
  int rank() const final { return topology_.rank; }
  int size() const final { return topology_.size; }
  int nodes() const override { return topology_.nodes(); }
  int node_of(int rank) const override { return topology_.node_of.at(static_cast<std::size_t>(rank)); }
  std::string_view name() const final { return device_ ? device_->name() : name_; }
  void abort(const std::string& reason) final;

  std::chrono::milliseconds deadline() const { return deadline_; }
  /// From here on `device` moves what lies in a device's memory. All ranks say so between the same collectives.
  void use_device(std::unique_ptr<DeviceCollectives> device) { device_ = std::move(device); }

 protected:
  GroupCommunicator(std::string_view name, Topology topology, Segment segment, std::unique_ptr<Transport> transport,
                    std::chrono::milliseconds deadline);

  bool begins_early(const Collective& collective) final;
  Steps start(const Collective& collective) final;
  std::optional<Event> rest() final { return rest_; }
  void show_input_ready(const Collective& collective) final { node_.set_device_at(collective.number()); }
  bool device_is_sound() final { return !device_ || device_->is_sound(); }
  void check_node() final;
  void check_other_nodes() final;
  void show_work() final;
  bool peers_at_work() final;
  void check_peers(const Collective& collective, Clock::duration silent) final;
  void spread_failure(const std::string& reason) noexcept final;
  void order(Collective& collective, Stream& stream) final;

  const Topology& topology() const { return topology_; }
  NodeGroup& node() { return node_; }
  const std::shared_ptr<Registry>& registry() { return registry_; }
  bool uses_device() const { return device_ != nullptr; }
  /// Memory of a device, for collectives that a `DeviceCollectives` moves. Throws InvalidArgument where there is none.
  Buffer allocate_on_device(const Backend& backend, std::int64_t size_bytes, MemoryKind kind);
  /// Ends all messages between nodes.
  void close_transport();

 private:
  void abandon_messages() noexcept;
  void spread_to_other_nodes(const std::string& reason);
  bool is_on_device(const Request& request) const;
  void check_lives(const Collective& collective, Clock::duration silent);
  bool is_gone(int rank) const;
  /// Ranks that this one cannot do without now.
  std::vector<int> needed_ranks(const Collective& collective, Clock::duration silent) const;
  /// Ranks that this one waits for and that do not themselves wait for other nodes.
  std::vector<int> silent_ranks() const;
  void send_hint();
  void tell_other_nodes(Notice::Kind kind, std::uint64_t sequence, const std::vector<int>& ranks) const;
  void answer_hints();
  void tell_of_work(int rank) const;
  void forget_hints();
  std::vector<int> add_hints(const std::vector<int>& ranks) const;
  void give_up(const Collective& collective, Clock::duration silent);
  /// Tells other nodes which devices of this one are at a collective, whenever that has changed.
  void tell_of_devices(const Collective& collective);
  /// Ranks whose devices have not come to the collective, as far as this one was told.
  std::vector<int> devices_behind(const Collective& collective) const;

  std::string_view name_;
  Topology topology_;
  NodeGroup node_;
  std::unique_ptr<Transport> transport_;
  std::shared_ptr<Registry> registry_ = std::make_shared<Registry>();
  Scratch scratch_;
  std::chrono::milliseconds deadline_;
  bool nodes_meet_ = false;
  std::unique_ptr<DeviceCollectives> device_;  // null where collectives take place in the host's memory only
  std::optional<Event> rest_;                  // of the collective that was driven last, where the device has it

  // About the silence in the present collective.
  Clock::duration last_silence_{};
  Clock::duration next_check_of_lives_{};
  bool hint_sent_ = false;
  std::uint64_t hint_sequence_ = 0;
  std::set<int> hinted_;                             // ranks that others wait for
  std::set<int> alive_;                              // the others
  std::map<int, Notice> device_words_;               // by node, what it said last of its devices
  std::optional<std::vector<int>> told_of_devices_;  // what this rank said last
  std::uint64_t work_signs_ = 0;                     // of this node, as last seen
  std::uint64_t work_words_ = 0;
};

}  // namespace minim::detail

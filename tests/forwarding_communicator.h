#pragma once

#include <string>

#include "collective.h"
#include "minim/comm/communicator.h"

namespace minim::testing {

/// Hands every call on to another communicator, so that a test can come between in one of them.
class ForwardingCommunicator : public Communicator {
 public:
  explicit ForwardingCommunicator(Communicator& to) : to_(to) {}

  int rank() const override { return to_.rank(); }
  int size() const override { return to_.size(); }
  int nodes() const override { return to_.nodes(); }
  int node_of(int rank) const override { return to_.node_of(rank); }
  std::string_view name() const override { return to_.name(); }
  Buffer allocate(Backend& backend, std::int64_t size_bytes, MemoryKind kind) override {
    return to_.allocate(backend, size_bytes, kind);
  }
  void progress() override { to_.progress(); }
  void keep_alive() override { to_.keep_alive(); }
  void abort(const std::string& reason) override { to_.abort(reason); }

 protected:
  Work submit(detail::Request request) override { return detail::issue(to_, request); }
  void wait_for(const detail::Collective& /*collective*/) override {}  // a Work knows the communicator that has it in hand

 private:
  Communicator& to_;
};

}  // namespace minim::testing

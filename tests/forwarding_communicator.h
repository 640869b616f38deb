#pragma once

#include <string>

#include "collective.h"
#include "minim/comm/communicator.h"

namespace minim::testing {

/// The same tensor without its protection.
inline TensorView writable(const ConstTensorView& view) {
  if (!view.present()) return {};
  return {const_cast<void*>(view.raw()), view.dtype(), view.shape()};
}

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
  Work submit(detail::Request request) override {
    using detail::CollectiveKind;
    const ReduceOptions reduce{.scale_exponent = request.scale_exponent};
    switch (request.kind) {
      case CollectiveKind::all_reduce: return to_.all_reduce(request.output, reduce, request.options);
      case CollectiveKind::reduce_scatter: return to_.reduce_scatter(request.output, reduce, request.options);
      case CollectiveKind::reduce_scatter_fp32:
        return to_.reduce_scatter_fp32(writable(request.input), request.output, request.options);
      case CollectiveKind::all_gather: return to_.all_gather(request.output, request.options);
      case CollectiveKind::all_to_all: return to_.all_to_all(request.input, request.output, request.options);
      case CollectiveKind::broadcast: return to_.broadcast(request.output, request.root, request.options);
      case CollectiveKind::barrier: break;
    }
    return to_.barrier(request.options);
  }
  void wait_for(const detail::Collective& /*collective*/) override {}  // a Work knows the communicator that has it in hand

 private:
  Communicator& to_;
};

}  // namespace minim::testing

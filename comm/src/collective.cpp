#include "collective.h"

#include <cstddef>

namespace minim::detail {

bool overlap(const ConstTensorView& a, const ConstTensorView& b) {
  const auto* const a_begin = static_cast<const std::byte*>(a.raw());
  const auto* const b_begin = static_cast<const std::byte*>(b.raw());
  return a_begin < b_begin + b.size_bytes() && b_begin < a_begin + a.size_bytes();
}

Work issue(Communicator& communicator, const Request& request) {
  const ReduceOptions reduce{.scale_exponent = request.scale_exponent};
  switch (request.kind) {
    case CollectiveKind::all_reduce: return communicator.all_reduce(request.output, reduce, request.options);
    case CollectiveKind::reduce_scatter: return communicator.reduce_scatter(request.output, reduce, request.options);
    case CollectiveKind::reduce_scatter_fp32:
      return communicator.reduce_scatter_fp32(request.input, request.output, request.options);
    case CollectiveKind::all_gather: return communicator.all_gather(request.output, request.options);
    case CollectiveKind::all_to_all: return communicator.all_to_all(request.input, request.output, request.options);
    case CollectiveKind::broadcast: return communicator.broadcast(request.output, request.root, request.options);
    case CollectiveKind::barrier: break;
  }
  return communicator.barrier(request.options);
}

Signature Collective::signature() const {
  Signature signature;
  signature.kind = request_.kind;
  signature.dtype = request_.input.present() ? request_.input.dtype() : DType::uint8;
  signature.elements = request_.input.elements();
  signature.scale_exponent = request_.scale_exponent;
  signature.root = request_.root;
  signature.set_label(request_.options.label);
  return signature;
}

void Collective::begin(Steps steps, std::uint64_t number) {
  steps_.emplace(std::move(steps));
  number_ = number;
  if (request_.times && !request_.times->begin) request_.times->begin = host_time();
}

void Collective::leave_to_device(Event rest) {
  steps_.reset();
  rest_ = std::move(rest);
}

void Collective::complete() {
  if (request_.times && !request_.times->end) request_.times->end = host_time();
  steps_.reset();
  done_ = true;
  if (event_) event_->set();
}

void Collective::fail(std::exception_ptr failure) {
  steps_.reset();
  done_ = true;
  failure_ = std::move(failure);
  if (event_) event_->fail(failure_);
}

Event Collective::event() {
  if (event_) return *event_;
  if (done_ && !failure_) return {};
  event_ = Event::manual();
  if (failure_) event_->fail(failure_);
  return *event_;
}

}  // namespace minim::detail

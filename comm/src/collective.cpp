#include "collective.h"

namespace minim::detail {

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

void Collective::complete() {
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

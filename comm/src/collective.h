#pragma once

#include <optional>

#include "minim/comm/communicator.h"
#include "signature.h"
#include "steps.h"

namespace minim::detail {

/// A checked call of a collective.
struct Request {
  CollectiveKind kind = CollectiveKind::barrier;
  ConstTensorView input = {};  ///< what peers read
  TensorView output = {};      ///< what this rank gets; the same memory as `input` in the kinds that work in place
  int scale_exponent = 0;
  int root = 0;
  CollectiveOptions options = {};
  std::shared_ptr<TimeSpan> times = {};  ///< where its times go, on a device those of the device; null: nowhere
};

/// Whether the tensors have memory in common.
bool overlap(const ConstTensorView& a, const ConstTensorView& b);

/// Makes the same call of another communicator.
Work issue(Communicator& communicator, const Request& request);

/// A queued collective: what was asked for, how far it has come, how it ended.
class Collective {
 public:
  explicit Collective(Request request) : request_(std::move(request)) {}

  const Request& request() const { return request_; }
  /// What was asked for, as ranks compare it.
  Signature signature() const;

  bool begun() const { return steps_.has_value(); }
  /// `number`: how many its communicator has begun, this one counted.
  void begin(Steps steps, std::uint64_t number);
  std::uint64_t number() const { return number_; }
  Advance advance() { return steps_->advance(); }

  /// All has been done but what a device has still to do, which happens with `rest`.
  void leave_to_device(Event rest);
  const std::optional<Event>& rest() const { return rest_; }

  bool done() const { return done_; }
  void complete();
  void fail(std::exception_ptr failure);
  void rethrow_failure() const {
    if (failure_) std::rethrow_exception(failure_);
  }

  /// Happens with `complete`, fails with `fail`.
  Event event();

 private:
  Request request_;
  std::optional<Steps> steps_;
  std::uint64_t number_ = 0;
  std::optional<Event> rest_;
  std::optional<Event> event_;  // made for those who ask
  std::exception_ptr failure_;
  bool done_ = false;
};

}  // namespace minim::detail

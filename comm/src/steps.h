#pragma once

#include <coroutine>
#include <exception>
#include <utility>

namespace minim::detail {

/// What a collective waits for. Polled; `ready()` may do the bookkeeping of what it waits for.
class Condition {
 public:
  virtual bool ready() = 0;

 protected:
  Condition() = default;
  ~Condition() = default;
};

enum class Advance : unsigned char { waiting, moved, completed };

/// The steps of a collective, written as a coroutine: it suspends at conditions that do not hold yet (`co_await condition`) and
/// after each bounded piece of work (`co_await Turn{}`), so that whoever drives it stays responsive. Steps may await other steps.
class [[nodiscard]] Steps {
 public:
  struct promise_type;
  using Handle = std::coroutine_handle<promise_type>;

  struct Return {
    bool await_ready() noexcept { return false; }
    std::coroutine_handle<> await_suspend(Handle finished) noexcept;
    void await_resume() noexcept {}
  };

  struct promise_type {
    promise_type* root = this;
    Handle caller;                     // who awaits these steps; null for the root
    Handle innermost;                  // root only: whom to resume
    Condition* waiting_for = nullptr;  // root only
    std::exception_ptr failure;

    Steps get_return_object() { return Steps(innermost = Handle::from_promise(*this)); }
    std::suspend_always initial_suspend() noexcept { return {}; }
    Return final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { failure = std::current_exception(); }
  };

  class Call {
   public:
    explicit Call(Handle callee) : callee_(callee) {}
    bool await_ready() const noexcept { return false; }
    std::coroutine_handle<> await_suspend(Handle caller) noexcept {
      promise_type* const root = caller.promise().root;
      callee_.promise().root = root;
      callee_.promise().caller = caller;
      root->innermost = callee_;
      return callee_;
    }
    void await_resume() const {
      if (callee_.promise().failure) std::rethrow_exception(callee_.promise().failure);
    }

   private:
    Handle callee_;
  };

  Steps() = default;
  ~Steps() {
    if (handle_) handle_.destroy();
  }
  Steps(Steps&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  Steps& operator=(Steps&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  Steps(const Steps&) = delete;
  Steps& operator=(const Steps&) = delete;

  /// Runs until the next condition that does not hold, the next turn, or the end. Throws what the steps throw.
  Advance advance() {
    promise_type& root = handle_.promise();
    if (root.waiting_for != nullptr) {
      if (!root.waiting_for->ready()) return Advance::waiting;
      root.waiting_for = nullptr;
    }
    root.innermost.resume();
    if (root.failure) std::rethrow_exception(root.failure);
    return handle_.done() ? Advance::completed : Advance::moved;
  }

  Call operator co_await() const noexcept { return Call(handle_); }

 private:
  explicit Steps(Handle handle) : handle_(handle) {}

  Handle handle_;
};

inline std::coroutine_handle<> Steps::Return::await_suspend(Handle finished) noexcept {
  promise_type& promise = finished.promise();
  if (!promise.caller) return std::noop_coroutine();
  promise.root->innermost = promise.caller;
  return promise.caller;
}

/// Suspends until a condition holds: a base for awaiters.
class Until : public Condition {
 public:
  bool await_ready() { return ready(); }
  void await_suspend(Steps::Handle waiter) noexcept { waiter.promise().root->waiting_for = this; }
  void await_resume() const noexcept {}

 protected:
  Until() = default;
  ~Until() = default;
};

/// Gives whoever drives the collective a turn.
using Turn = std::suspend_always;

}  // namespace minim::detail

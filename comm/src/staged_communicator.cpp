#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <iterator>
#include <optional>
#include <vector>

#include "collective.h"
#include "minim/runtime/error.h"

namespace minim {
namespace detail {
namespace {

class StagedCommunicator final : public Communicator {
 public:
  StagedCommunicator(Communicator& host, Backend& device)
      : host_(host), device_(device), down_(device.make_stream("to host")), up_(device.make_stream("to device")) {}
  ~StagedCommunicator() override;

  int rank() const override { return host_.rank(); }
  int size() const override { return host_.size(); }
  int nodes() const override { return host_.nodes(); }
  int node_of(int rank) const override { return host_.node_of(rank); }
  std::string_view name() const override { return host_.name(); }

  Buffer allocate(Backend& backend, std::int64_t size_bytes, MemoryKind kind) override {
    return backend.allocate(size_bytes, kind);
  }
  void progress() override;
  void keep_alive() override;
  void abort(const std::string& reason) override;
  /// What is timed is the collective on the host, without the copies.
  void set_trace(TraceRow* row) override { host_.set_trace(row); }

 protected:
  Work submit(Request request) override;
  void wait_for(const Collective& collective) override;
  void order(Collective& collective, Stream& stream) override;

 private:
  /// A collective, its tensors on the host, and how far it has come.
  struct Staged {
    std::shared_ptr<Collective> collective;
    std::vector<Buffer> buffers;
    ConstTensorView result;  ///< on the host, to be copied to the device; absent where there is none
    Work work;
    std::optional<Event> finished;  ///< the result is on the device
  };

  template <class Part>
  void guarded(const Part& part);
  void fail(std::exception_ptr failure);
  TensorView stage(Staged& staged, const ConstTensorView& tensor);
  void begin(Staged& staged);
  void advance();

  Communicator& host_;
  Backend& device_;
  std::deque<Staged> queue_;
  std::vector<Buffer> spare_;
  std::exception_ptr failure_;
  std::unique_ptr<Stream> down_, up_;  // last: they are emptied before the buffers of their copies go away
};

StagedCommunicator::~StagedCommunicator() {
  for (const Staged& staged : queue_) {
    const std::string text =
        fmt::format("{}: the communicator was destroyed before it had completed", staged.collective->signature().title());
    staged.collective->fail(std::make_exception_ptr(CommError(text)));
  }
}

/// Does `part`; when that throws everything that is queued fails, here and on the other ranks.
template <class Part>
void StagedCommunicator::guarded(const Part& part) {
  if (failure_) std::rethrow_exception(failure_);
  try {
    part();
  } catch (const std::exception& error) {
    host_.abort(error.what());
    fail(std::current_exception());
    throw;
  }
}

void StagedCommunicator::fail(std::exception_ptr failure) {
  if (failure_) return;
  failure_ = std::move(failure);
  for (Staged& staged : queue_) {
    staged.collective->fail(failure_);
    std::move(staged.buffers.begin(), staged.buffers.end(), std::back_inserter(spare_));  // copies may be under way
  }
  queue_.clear();
}

/// A tensor of the host as large as `tensor`, for as long as `staged` is queued.
TensorView StagedCommunicator::stage(Staged& staged, const ConstTensorView& tensor) {
  constexpr std::int64_t kGenerous = 2;  // a buffer that is larger by more than that is left to others
  const std::int64_t wanted = tensor.size_bytes();
  const auto fits = std::find_if(spare_.begin(), spare_.end(), [&](const Buffer& buffer) {
    return buffer.size_bytes() >= wanted && buffer.size_bytes() <= kGenerous * wanted;
  });
  if (fits == spare_.end()) {
    staged.buffers.push_back(device_.allocate_host(wanted, MemoryKind::staging));
  } else {
    staged.buffers.push_back(std::move(*fits));
    spare_.erase(fits);
  }
  return {staged.buffers.back().data(), tensor.dtype(), tensor.shape()};
}

/// Issues the collective on the host, after what it reads has been copied there.
void StagedCommunicator::begin(Staged& staged) {
  Request request = staged.collective->request();
  const bool in_place = request.input.raw() == request.output.raw();
  const auto is_staged = [&](const ConstTensorView& tensor) {
    return tensor.present() && tensor.size_bytes() > 0 && device_.on_device(tensor.raw());
  };
  const bool stages_output = is_staged(request.output);
  if (is_staged(request.input)) {
    const TensorView input = stage(staged, request.input);
    down_->wait(request.options.after);
    for (const Staged& earlier : queue_) {
      if (&earlier != &staged && overlap(earlier.collective->request().output, request.input)) {
        down_->wait(earlier.collective->event());
      }
    }
    down_->copy(input, request.input);
    request.options.after = down_->record();
    request.input = input;
    if (in_place) request.output = input;
  }
  if (stages_output && !in_place) request.output = stage(staged, request.output);
  if (stages_output) staged.result = request.output;
  staged.work = issue(host_, request);
}

Work StagedCommunicator::submit(Request request) {
  auto collective = std::make_shared<Collective>(std::move(request));
  if (failure_) {
    collective->fail(failure_);
    return {this, std::move(collective)};
  }
  guarded([&] {
    Staged& staged = queue_.emplace_back();
    staged.collective = collective;
    begin(staged);
  });
  return {this, std::move(collective)};
}

/// Sends results that the host has to the device, and completes what has arrived there.
void StagedCommunicator::advance() {
  for (Staged& staged : queue_) {
    if (staged.finished) continue;
    if (!staged.work.done()) break;
    staged.work.wait();  // rethrows what failed
    staged.finished.emplace();
    if (!staged.result.present()) continue;
    up_->copy(staged.collective->request().output, staged.result);
    staged.finished = up_->record();
  }
  while (!queue_.empty() && queue_.front().finished && queue_.front().finished->done()) {
    Staged& head = queue_.front();
    head.finished->wait();  // rethrows what failed
    head.collective->complete();
    std::move(head.buffers.begin(), head.buffers.end(), std::back_inserter(spare_));
    queue_.pop_front();
  }
}

void StagedCommunicator::progress() {
  guarded([&] {
    host_.progress();
    advance();
  });
}

void StagedCommunicator::wait_for(const Collective& collective) {
  constexpr std::chrono::milliseconds kPoll{1};
  while (!collective.done()) {
    guarded([&] {
      const Staged& head = queue_.front();
      if (head.finished) {
        head.finished->wait_for(kPoll);
      } else {
        head.work.wait();
      }
      advance();
    });
  }
}

/// A stream of a device that waits for the host holds up what needs the device to come to rest, such as memory to be had and
/// kernels to be loaded. So the host waits, whatever the stream.
void StagedCommunicator::order(Collective& collective, Stream& /*stream*/) {
  wait_for(collective);
  collective.rethrow_failure();
}

void StagedCommunicator::keep_alive() {
  guarded([&] { host_.keep_alive(); });
}

void StagedCommunicator::abort(const std::string& reason) {
  host_.abort(reason);
  fail(std::make_exception_ptr(CommError(fmt::format("aborted by rank {}: {}", rank(), reason))));
}

}  // namespace
}  // namespace detail

std::unique_ptr<Communicator> make_staged_communicator(Communicator& host, Backend& device) {
  return std::make_unique<detail::StagedCommunicator>(host, device);
}

}  // namespace minim

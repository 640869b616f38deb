#include "cuda/cudnn/tuning.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "cuda/check.h"
#include "cuda/cuda_memory.h"
#include "cuda/cuda_stream.h"
#include "cuda/cudnn/convolution_plan.h"
#include "cuda/cudnn/exact_sums.h"
#include "cuda/cudnn/execution.h"

namespace minim::cuda::cudnn {
namespace {

using cuda::check;  // of what CUDA returns

constexpr int kRounds = 3;         ///< the fastest counts
constexpr int kRunsPerRound = 3;   ///< so that what a launch costs the host hides behind the run before
constexpr float kHopeless = 1.5F;  ///< times the fastest's time after the first round: not timed again
constexpr float kClearly = 0.95F;  ///< of the first plan's time

class TimedEvent {
 public:
  TimedEvent() { check(cudaEventCreate(&event_), "cudaEventCreate"); }
  ~TimedEvent() { cudaEventDestroy(event_); }
  TimedEvent(const TimedEvent&) = delete;
  TimedEvent& operator=(const TimedEvent&) = delete;
  cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

/// A problem's tensors on the device, with the operands that ExactSums tells.
class Trial {
 public:
  Trial(const ConvolutionProblem& problem, std::int64_t workspace_bytes, const std::shared_ptr<CudaDevice>& device)
      : problem_(problem), sums_(problem), device_(device), stream_(make_cuda_stream(device, "tuning")) {
    x_ = make(problem.x);
    w_ = make(problem.w);
    y_ = make(problem.y);
    if (has_bias()) bias_ = make({problem.y[3]});
    workspace_ = allocate_on_device(device, workspace_bytes, MemoryKind::workspace, account_);
    host_ = allocate_on_host(device, std::max(ExactSums::kPeriod, kMostSamples) * element_bytes(), MemoryKind::staging, account_);
    if (has_bias()) clear(bias_);
    fill(sums_.first(), 0);
    fill(sums_.second(), 1);
    find_expected();
  }

  Execution bind(const Plan& plan) const {
    std::vector<BoundTensor> tensors{{kX, view(x_, problem_.x)}, {kW, view(w_, problem_.w)}, {kY, view(y_, problem_.y)}};
    if (has_bias()) tensors.push_back({kBias, view(bias_, {problem_.y[3]})});
    return {std::make_shared<const Plan>(plan), tensors, {workspace_.data(), DType::uint8, Shape{workspace_.size_bytes()}}};
  }

  /// Whether the plan finds the sums. Adds to zeros where it adds.
  bool is_right(const Execution& execution) {
    const Buffer& result = buffer_of(sums_.result());
    clear(result);
    execution.enqueue(*stream_);
    for (std::size_t i = 0; i < expected_.size(); ++i) {
      copy(host_at(static_cast<std::int64_t>(i)),
           static_cast<const std::byte*>(result.data()) + expected_[i].element * element_bytes(), element_bytes());
    }
    stream_->synchronize();
    return dispatch_floating(problem_.storage, [&]<class T>(T) {
      for (std::size_t i = 0; i < expected_.size(); ++i) {
        T found{};
        std::memcpy(&found, host_at(static_cast<std::int64_t>(i)), sizeof found);
        if (to_float(found) != to_float(round_to<T>(static_cast<float>(expected_[i].sum)))) return false;
      }
      return true;
    });
  }

  /// Of kRunsPerRound runs.
  float milliseconds(const Execution& execution) {
    const TimedEvent begin, end;
    check(cudaEventRecord(begin.get(), handle_of(*stream_)), "cudaEventRecord");
    for (int run = 0; run < kRunsPerRound; ++run) execution.enqueue(*stream_);
    check(cudaEventRecord(end.get(), handle_of(*stream_)), "cudaEventRecord");
    stream_->synchronize();
    float took = 0;
    check(cudaEventElapsedTime(&took, begin.get(), end.get()), "cudaEventElapsedTime");
    return took;
  }

 private:
  struct ExpectedSum {
    std::int64_t element, sum;
  };
  // Of long sums, which take long to find, a few suffice: they go up so far that each part shows rounding.
  static constexpr std::int64_t kMostSamples = 64, kFewestSamples = 4, kProducts = 1 << 22;

  void find_expected() {
    const std::int64_t samples = std::clamp(kProducts / sums_.products_per_sum(), kFewestSamples, kMostSamples);
    const std::int64_t elements = buffer_of(sums_.result()).size_bytes() / element_bytes();
    for (std::int64_t i = 0; i < samples; ++i) {
      const std::int64_t element = i * (elements - 1) / (samples - 1);
      expected_.push_back({element, sums_.at(element)});
    }
  }

  bool has_bias() const { return problem_.pass == ConvolutionPass::forward && problem_.has_bias; }
  std::int64_t element_bytes() const { return size_bytes(problem_.storage); }
  Buffer make(const Shape& shape) const {
    return allocate_on_device(device_, shape.elements() * element_bytes(), MemoryKind::workspace, account_);
  }
  TensorView view(const Buffer& buffer, const Shape& shape) const { return {buffer.data(), problem_.storage, shape}; }
  const Buffer& buffer_of(ConvolutionTensor tensor) const { return tensor == kX ? x_ : tensor == kW ? w_ : y_; }
  void* host_at(std::int64_t element) const { return static_cast<std::byte*>(host_.data()) + element * element_bytes(); }

  void copy(void* to, const void* from, std::int64_t bytes) {
    check(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyDefault, handle_of(*stream_)), "cudaMemcpyAsync");
  }
  void clear(const Buffer& buffer) {
    check(cudaMemsetAsync(buffer.data(), 0, static_cast<std::size_t>(buffer.size_bytes()), handle_of(*stream_)),
          "cudaMemsetAsync");
  }

  /// Operand number `which`. Its values repeat, so that most of them are copied from where they are already.
  void fill(ConvolutionTensor tensor, int which) {
    const Buffer& buffer = buffer_of(tensor);
    for (const auto& [begin, end] : sums_.repeating(which)) {
      auto* const start = static_cast<std::byte*>(buffer.data()) + begin * element_bytes();
      std::int64_t filled = std::min(end - begin, ExactSums::kPeriod);
      dispatch_floating(problem_.storage, [&]<class T>(T) {
        auto* const values = static_cast<T*>(host_.data());
        for (std::int64_t i = 0; i < filled; ++i) values[i] = round_to<T>(static_cast<float>(sums_.operand(which, begin + i)));
      });
      copy(start, host_.data(), filled * element_bytes());
      for (; filled < end - begin; filled *= 2) {
        copy(start + filled * element_bytes(), start, std::min(filled, end - begin - filled) * element_bytes());
      }
      stream_->synchronize();  // the host's values are in use until then
    }
  }

  const ConvolutionProblem& problem_;
  ExactSums sums_;
  std::vector<ExpectedSum> expected_;
  std::shared_ptr<CudaDevice> device_;
  std::shared_ptr<MemoryAccount> account_ = std::make_shared<MemoryAccount>();  // no plan has what is gone before it is made
  Buffer x_, w_, y_, bias_, workspace_, host_;
  std::unique_ptr<Stream> stream_;  // last: it is emptied before what it works on goes away
};

/// Nothing where there is no memory.
std::unique_ptr<Trial> make_trial(const ConvolutionProblem& problem, const std::vector<Plan>& candidates,
                                  const std::shared_ptr<CudaDevice>& device) {
  const auto most = std::ranges::max_element(candidates, {}, &Plan::workspace_bytes);
  try {
    return std::make_unique<Trial>(problem, most->workspace_bytes, device);
  } catch (const DeviceError&) {
    return nullptr;
  }
}

}  // namespace

std::optional<Plan> fastest_plan(const ConvolutionProblem& problem, const std::vector<Plan>& candidates,
                                 const std::shared_ptr<CudaDevice>& device, const std::function<void()>& at_work) {
  const DeviceScope scope(*device);
  const auto trial = make_trial(problem, candidates, device);
  if (!trial) return {};
  struct Timed {
    const Plan* plan;
    Execution execution;
    float best = std::numeric_limits<float>::infinity();
  };
  std::vector<Timed> right;
  for (const Plan& plan : candidates) {
    at_work();
    Timed timed{&plan, trial->bind(plan)};
    if (trial->is_right(timed.execution)) right.push_back(std::move(timed));
  }
  if (right.empty()) {
    throw DeviceError(fmt::format("none of {} plans of cuDNN's sums products as FP32 does", candidates.size()));
  }
  const auto fastest = [&right] { return std::ranges::min_element(right, {}, &Timed::best); };
  for (int round = 0; round < kRounds; ++round) {
    const float most = kHopeless * fastest()->best;
    for (Timed& timed : right) {
      if (timed.best > most) continue;
      at_work();
      timed.best = std::min(timed.best, trial->milliseconds(timed.execution));
    }
  }
  return fastest()->best < kClearly * right.front().best ? *fastest()->plan : *right.front().plan;
}

}  // namespace minim::cuda::cudnn

#include "remote/remote_backend.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <atomic>
#include <cstring>
#include <map>
#include <mutex>
#include <stdexcept>

#include "agreement_kernels.h"
#include "launcher/rank_threads.h"
#include "minim/model/kernel_arguments.h"
#include "minim/optimizer/update_rule.h"
#include "minim/runtime/kernels/batch_norm.h"
#include "minim/runtime/kernels/bias.h"
#include "minim/runtime/kernels/convolution.h"
#include "minim/runtime/kernels/elementwise.h"
#include "minim/runtime/kernels/embedding.h"
#include "minim/runtime/kernels/layer_norm.h"
#include "minim/runtime/kernels/linear.h"
#include "minim/runtime/kernels/local_response_norm.h"
#include "minim/runtime/kernels/loss.h"
#include "minim/runtime/kernels/nonlinearity.h"
#include "minim/runtime/kernels/pooling.h"
#include "minim/runtime/kernels/state.h"
#include "trust_kernels.h"

namespace minim::testing {
namespace {

/// The same tensor without its protection.
TensorView writable(const ConstTensorView& view) {
  if (!view.present()) return {};
  return {const_cast<void*>(view.raw()), view.dtype(), view.shape()};
}

constexpr std::int64_t kPageBytes = 4096;
constexpr int kNanByte = 0xFF;

/// Two halves of equal size. Addresses of the lower one are handed out and never mapped; those of the upper one, at the same
/// offsets, are mapped for as long as the memory is in use.
class Wall {
 public:
  static Wall& instance() {
    static Wall wall;
    return wall;
  }

  std::byte* reserve(std::int64_t size_bytes) {
    const std::int64_t mapped_bytes = round_up(size_bytes, kPageBytes);
    const std::int64_t offset = used_bytes_.fetch_add(mapped_bytes + kPageBytes);  // a page between any two stays unmapped
    if (offset + mapped_bytes > kHalfBytes) throw DeviceError("the tests' remote memory is used up");
    std::byte* const behind = base_ + kHalfBytes + offset;
    if (mapped_bytes > 0 && mprotect(behind, static_cast<std::size_t>(mapped_bytes), PROT_READ | PROT_WRITE) != 0) {
      throw DeviceError("the tests' remote memory cannot be mapped");
    }
    std::memset(behind, kNanByte, static_cast<std::size_t>(size_bytes));
    return base_ + offset;
  }

  void release(void* address, std::int64_t size_bytes) {
    if (size_bytes == 0) return;
    void* const behind = static_cast<std::byte*>(address) + kHalfBytes;
    madvise(behind, static_cast<std::size_t>(size_bytes), MADV_DONTNEED);
    mprotect(behind, static_cast<std::size_t>(size_bytes), PROT_NONE);
  }

  bool holds(const void* address) const { return base_ <= address && address < base_ + kHalfBytes; }
  void* behind(void* address) const { return static_cast<std::byte*>(address) + kHalfBytes; }

 private:
  static constexpr std::int64_t kHalfBytes = std::int64_t{4} << 30U;

  Wall() {
    void* const mapped = mmap(nullptr, 2 * kHalfBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) throw DeviceError("no address space for the tests' remote memory");
    base_ = static_cast<std::byte*>(mapped);
  }

  std::byte* base_ = nullptr;
  std::atomic<std::int64_t> used_bytes_{0};
};

/// Memory of `allocate_host` that is in use. Thread-safe.
class HostMemory {
 public:
  void add(const void* address, std::int64_t size_bytes) {
    const std::scoped_lock lock(mutex_);
    blocks_[static_cast<const std::byte*>(address)] = size_bytes;
  }
  void remove(const void* address) {
    const std::scoped_lock lock(mutex_);
    blocks_.erase(static_cast<const std::byte*>(address));
  }
  bool holds(const ConstTensorView& view) const {
    const auto* address = static_cast<const std::byte*>(view.raw());
    const std::scoped_lock lock(mutex_);
    const auto after = blocks_.upper_bound(address);
    if (after == blocks_.begin()) return false;
    const auto& [begin, size_bytes] = *std::prev(after);
    return address + view.size_bytes() <= begin + size_bytes;
  }

 private:
  mutable std::mutex mutex_;
  std::map<const std::byte*, std::int64_t> blocks_;
};

class RemoteStream final : public Stream {
 public:
  RemoteStream(std::string name, std::shared_ptr<HostMemory> host)
      : stream_(make_cpu_stream(std::move(name), 1)), host_(std::move(host)) {}

  void enqueue(std::function<void()> work) override { stream_->enqueue(std::move(work)); }
  void enqueue_borrowed(const std::function<void()>* work) override { stream_->enqueue_borrowed(work); }
  void copy(TensorView to, ConstTensorView from) override {
    detail::check_copy(to, from);
    for (const ConstTensorView& side : {ConstTensorView(to), from}) {
      if (!Wall::instance().holds(side.raw()) && !host_->holds(side)) {
        throw InvalidArgument("a stream of a remote backend copies from or to pageable memory");
      }
    }
    stream_->copy(behind_the_wall(to), behind_the_wall(writable(from)));
  }
  void wait(const Event& event) override { stream_->wait(event); }
  Event record() override { return stream_->record(); }
  void synchronize() override { stream_->synchronize(); }

 private:
  std::unique_ptr<Stream> stream_;
  std::shared_ptr<HostMemory> host_;
};

class RemoteBackend final : public Backend {
 public:
  RemoteBackend() {
    add<BatchNormMoments, BatchNormForward, BatchNormInference, BatchNormSums, BatchNormBackward>();
    add<Conv2dForward, Conv2dBackwardData, Conv2dBackwardWeights>();
    add<LayerNormForward, LayerNormBackwardData, LayerNormBackwardWeights, EmbeddingForward, EmbeddingBackward>();
    add<AddBias, BiasGradient, NonlinearityForward, NonlinearityBackward>();
    add<ReluForward, ReluBackward, Sum, Cast, Zero, ConcatForward, ConcatBackward, DropoutForward, DropoutBackward>();
    add<LinearForward, LinearBackwardData, LinearBackwardWeights, SoftmaxCrossEntropyForward, SoftmaxCrossEntropyBackward>();
    add<MaxPoolForward, MaxPoolBackward, AveragePoolForward, AveragePoolBackward>();
    add<GlobalAveragePoolForward, GlobalAveragePoolBackward, LocalResponseNormForward, LocalResponseNormBackward, CommitState>();
    add_update_kernels(*cpu_);
    add_agreement_kernels(*cpu_);
    add_trust_kernels(*cpu_);
    add<ApplyUpdate, CheckGradients, FillRecord, FoldAgreement, MeasureUpdate, FoldSquares>();
  }

  std::string_view name() const override { return "remote"; }
  bool host_accessible() const override { return false; }
  bool on_device(const void* address) const override { return Wall::instance().holds(address); }

  Buffer allocate(std::int64_t size_bytes, MemoryKind kind) override {
    if (size_bytes < 0) throw InvalidArgument(fmt::format("{} bytes of memory: 0 or more is wanted", size_bytes));
    return {Wall::instance().reserve(size_bytes), size_bytes, kind, memory(),
            [size_bytes](void* address) { Wall::instance().release(address, size_bytes); }};
  }
  Buffer allocate_host(std::int64_t size_bytes, MemoryKind kind) override {
    auto block = std::make_shared<Buffer>(cpu_->allocate(size_bytes, kind));
    host_->add(block->data(), size_bytes);
    return {block->data(), size_bytes, kind, memory(), [block, host = host_](void* address) mutable {
              host->remove(address);
              block.reset();
            }};
  }
  std::unique_ptr<Stream> make_stream(std::string name) override {
    return std::make_unique<RemoteStream>(std::move(name), host_);
  }
  void copy(TensorView to, ConstTensorView from) override { cpu_->copy(behind_the_wall(to), behind_the_wall(writable(from))); }

 private:
  template <class Args>
  static Args args_behind_the_wall(Args args) {
    for_each_tensor(args, []<class View>(View& view) {
      if (!view.present() || view.raw() == nullptr || view.elements() == 0) return;
      if (!Wall::instance().holds(view.raw())) {
        throw InvalidArgument(fmt::format("{} of a remote backend is given memory of the host", typeid(Args).name()));
      }
      view = behind_the_wall(writable(view));
    });
    return args;
  }

  template <class... Args>
  void add() {
    (add_kernel<Args>({.prepare = [cpu = cpu_](const Args& args) { return cpu->prepare(args_behind_the_wall(args)); },
                       .workspace_bytes = [cpu = cpu_](const Args& args) { return cpu->workspace_bytes(args); }},
                      "remote"),
     ...);
  }

  std::shared_ptr<Backend> cpu_ = make_cpu_backend(1);
  std::shared_ptr<HostMemory> host_ = std::make_shared<HostMemory>();
};

}  // namespace

std::unique_ptr<Backend> make_remote_backend() { return std::make_unique<RemoteBackend>(); }

TensorView behind_the_wall(const TensorView& view) {
  if (!Wall::instance().holds(view.raw())) return view;
  return {Wall::instance().behind(view.raw()), view.dtype(), view.shape()};
}

void expect_the_same_behind_the_wall(int ranks, const std::function<std::string(Communicator&, const MakeBackend&)>& work) {
  std::vector<std::string> cpu(static_cast<std::size_t>(ranks)), remote(cpu.size());
  run_ranks(ranks, [&](Communicator& communicator) {
    cpu[static_cast<std::size_t>(communicator.rank())] = work(communicator, [] { return make_cpu_backend(1); });
  });
  run_ranks(ranks, [&](Communicator& communicator) {
    const auto device = make_remote_backend();
    const auto reaching = make_staged_communicator(communicator, *device);
    remote[static_cast<std::size_t>(communicator.rank())] = work(*reaching, make_remote_backend);
  });
  for (std::size_t rank = 0; rank < cpu.size(); ++rank) {
    EXPECT_FALSE(cpu[rank].empty());
    EXPECT_TRUE(cpu[rank] == remote[rank]) << "rank " << rank << " of " << ranks;
  }
}

}  // namespace minim::testing

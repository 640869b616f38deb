#include "minim/runtime/backend.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>

#include "minim/runtime/kernels/elementwise.h"

// An allocation that cannot succeed shall fail under the sanitizers as it does without them. The names are theirs.
extern "C" const char* __asan_default_options() { return "allocator_may_return_null=1"; }  // NOLINT
extern "C" const char* __tsan_default_options() { return "allocator_may_return_null=1"; }  // NOLINT

namespace minim {
namespace {

/// A kernel that a program brings along: y = factor * x.
struct Multiply {
  ConstTensorView x;
  TensorView y;
  float factor = 1;
};

void multiply(const Multiply& args) {
  std::ranges::transform(args.x.span<float>(), args.y.span<float>().begin(), [&](float x) { return args.factor * x; });
}

TEST(Backend, RunsAProgramsOwnKernel) {
  const auto backend = make_cpu_backend(1);
  const auto stream = backend->make_stream("test");
  EXPECT_FALSE(backend->has_kernel<Multiply>());
  backend->add_kernel(host_kernel<Multiply>(multiply), "mine");
  EXPECT_TRUE(backend->has_kernel<Multiply>());
  EXPECT_EQ(backend->kernel_set<Multiply>(), "mine");

  const Tensor x = backend->allocate_tensor(DType::fp32, {2}, MemoryKind::input);
  const Tensor y = backend->allocate_tensor(DType::fp32, {2}, MemoryKind::activations);
  x.span<float>()[0] = 2;
  x.span<float>()[1] = -1;
  backend->run(*stream, Multiply{.x = x, .y = y, .factor = 3});
  EXPECT_EQ(y.span<float>()[0], 6);
  EXPECT_EQ(y.span<float>()[1], -3);
}

TEST(Backend, LaunchesAPreparedCallAnyNumberOfTimes) {
  const auto backend = make_cpu_backend(1);
  const auto stream = backend->make_stream("test");
  backend->add_kernel(host_kernel<Multiply>(multiply), "mine");
  const Tensor x = backend->allocate_tensor(DType::fp32, {1}, MemoryKind::input);
  x.span<float>()[0] = 1;
  const auto call = backend->prepare(Multiply{.x = x, .y = x, .factor = 2});
  for (int i = 0; i < 10; ++i) call->launch(*stream);
  stream->synchronize();
  EXPECT_EQ(x.span<float>()[0], 1024);
}

TEST(Backend, PreparesOnceForAllLaunches) {
  const auto backend = make_cpu_backend(1);
  const auto stream = backend->make_stream("test");
  int prepared = 0, launched = 0;
  const auto make = [&](const Multiply&) -> std::function<void()> {
    ++prepared;
    return [&launched] { ++launched; };
  };
  backend->add_kernel(prepared_host_kernel<Multiply>(make), "mine");
  const auto call = backend->prepare(Multiply{});
  call->launch(*stream);
  call->launch(*stream);
  stream->synchronize();
  EXPECT_EQ(prepared, 1);
  EXPECT_EQ(launched, 2);
}

TEST(Backend, ReplacesAKernel) {
  const auto backend = make_reference_backend();
  const auto stream = backend->make_stream("test");
  EXPECT_EQ(backend->kernel_set<Zero>(), "reference");
  bool ran = false;
  backend->add_kernel(host_kernel<Zero>([&ran](const Zero&) { ran = true; }), "mine");
  EXPECT_EQ(backend->kernel_set<Zero>(), "mine");
  backend->run(*stream, Zero{});
  EXPECT_TRUE(ran);
}

TEST(Backend, NamesTheKernelThatIsMissing) {
  const auto backend = make_reference_backend();
  try {
    backend->prepare(Multiply{});
    FAIL() << "a kernel that nobody added was found";
  } catch (const InvalidArgument& error) {
    EXPECT_NE(std::string(error.what()).find("\"reference\""), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("Multiply"), std::string::npos) << error.what();
  }
  EXPECT_THROW(backend->workspace_bytes(Multiply{}), InvalidArgument);
  EXPECT_THROW(backend->kernel_set<Multiply>(), InvalidArgument);
}

TEST(Backend, AsksTheKernelForItsWorkspace) {
  const auto backend = make_reference_backend();
  EXPECT_EQ(backend->workspace_bytes(Zero{}), 0) << "a kernel that says nothing needs none";
  backend->add_kernel(host_kernel<Multiply>(multiply, [](const Multiply& args) { return args.x.elements() * 8; }), "mine");
  EXPECT_EQ(backend->workspace_bytes(Multiply{.x = ConstTensorView(nullptr, DType::fp32, {5})}), 40);
}

TEST(Backend, ReportsAKernelsFailureThroughTheStream) {
  const auto backend = make_reference_backend();
  const auto stream = backend->make_stream("test");
  backend->add_kernel(host_kernel<Multiply>([](const Multiply&) { throw DataError("bad"); }), "mine");
  EXPECT_THROW(backend->run(*stream, Multiply{}), DataError);
}

TEST(Backend, AlignsAndBooksItsMemory) {
  const auto backend = make_cpu_backend(1);
  for (const std::int64_t size_bytes : {std::int64_t{0}, std::int64_t{1}, std::int64_t{100}, std::int64_t{5} << 20U}) {
    const Buffer buffer = backend->allocate(size_bytes, MemoryKind::moments);
    EXPECT_TRUE(buffer) << size_bytes;
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % kAlignmentBytes, 0U) << size_bytes;
    EXPECT_EQ(backend->memory()->in_use_bytes(MemoryKind::moments), size_bytes);
  }
  EXPECT_EQ(backend->memory()->in_use_bytes(), 0);
  EXPECT_EQ(backend->memory()->peak_bytes(), std::int64_t{5} << 20U);
  EXPECT_THROW(backend->allocate(-1, MemoryKind::moments), InvalidArgument);
}

TEST(Backend, SaysHowMuchMemoryItDoesNotHave) {
  const auto backend = make_cpu_backend(1);
  constexpr std::int64_t kTooMuchBytes = std::int64_t{1} << 60U;
  try {
    backend->allocate(kTooMuchBytes, MemoryKind::moments);
    FAIL() << "an exbibyte was found";
  } catch (const DeviceError& error) {
    EXPECT_NE(std::string(error.what()).find(std::to_string(kTooMuchBytes)), std::string::npos) << error.what();
  }
  EXPECT_EQ(backend->memory()->in_use_bytes(), 0);
}

TEST(Backend, OutlivedByItsTensors) {
  auto backend = make_cpu_backend(1);
  const std::shared_ptr<MemoryAccount> account = backend->memory();
  Tensor tensor = backend->allocate_tensor(DType::fp16, {10}, MemoryKind::weights);
  backend.reset();
  EXPECT_EQ(account->in_use_bytes(MemoryKind::weights), 20);
  tensor = {};
  EXPECT_EQ(account->in_use_bytes(MemoryKind::weights), 0);
}

TEST(Backend, HasItsNameAndAtLeastOneThread) {
  EXPECT_EQ(make_cpu_backend(1)->name(), "cpu");
  EXPECT_EQ(make_reference_backend()->name(), "reference");
  EXPECT_THROW(make_cpu_backend(0), InvalidArgument);
}

}  // namespace
}  // namespace minim

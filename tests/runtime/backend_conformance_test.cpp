#include "runtime/backend_conformance.h"

#include <cstdint>

#include "minim/runtime/kernels/elementwise.h"
#include "minim/runtime/transfer.h"

namespace minim::test {
namespace {

using Floats = std::vector<float>;

TEST_P(BackendConformance, CopiesBetweenAllKindsOfMemory) {
  Floats pageable = {1, 2, 3};
  const Tensor device = device_tensor({0, 0, 0}), other_device = device_tensor({0, 0, 0});
  const Tensor host = host_tensor({0, 0, 0});
  backend_->copy(device, view_of(pageable));
  backend_->copy(other_device, device);
  backend_->copy(host, other_device);
  EXPECT_EQ(values_of(host), pageable);
  pageable = {4, 5, 6};
  backend_->copy(host, view_of(pageable));
  backend_->copy(device, host);
  EXPECT_EQ(values_of(device), pageable);
}

TEST_P(BackendConformance, CopiesPartsOfTensors) {
  const Tensor device = device_tensor({1, 2, 3, 4});
  const Tensor host = host_tensor({5, 6});
  stream_->copy(device.view().slice(1, 3), host);
  stream_->synchronize();
  EXPECT_EQ(values_of(device), (Floats{1, 5, 6, 4}));
  backend_->copy(device.view().slice(3, 4), device.view().slice(0, 1));
  EXPECT_EQ(values_of(device), (Floats{1, 5, 6, 1}));
}

TEST_P(BackendConformance, CopiesNothingFromTensorsWithoutElements) {
  const Tensor device = device_tensor({}), host = host_tensor({});
  backend_->copy(device, host);
  stream_->copy(host, device);
  stream_->synchronize();
}

TEST_P(BackendConformance, RefusesCopiesBetweenTensorsThatDiffer) {
  const Tensor two = device_tensor({1, 2}), three = device_tensor({1, 2, 3});
  const Tensor integers = backend_->allocate_tensor(DType::int32, {2}, MemoryKind::input);
  for (const TensorView& to : {three.view(), integers.view(), TensorView()}) {
    EXPECT_THROW(backend_->copy(to, two), InvalidArgument);
    EXPECT_THROW(stream_->copy(to, two), InvalidArgument);
  }
  EXPECT_THROW(stream_->copy(two, TensorView()), InvalidArgument);
  stream_->synchronize();
  EXPECT_EQ(values_of(three), (Floats{1, 2, 3}));
}

TEST_P(BackendConformance, CopiesInTheOrderOfTheStream) {
  const Tensor source = host_tensor({1, 2}), other_source = host_tensor({3, 4}), result = host_tensor({0, 0});
  const Tensor device = device_tensor({0, 0});
  const Event gate = Event::manual();
  stream_->wait(gate);
  stream_->copy(device, source);
  stream_->copy(result, device);
  stream_->copy(device, other_source);
  const auto doubled = backend_->prepare(Sum{.inputs = {device, device}, .y = device});
  doubled->launch(*stream_);
  // The gate is closed: what is written now is what the stream will find.
  source.span<float>()[0] = 7;
  gate.set();
  stream_->synchronize();
  EXPECT_EQ(values_of(result), (Floats{7, 2}));
  EXPECT_EQ(values_of(device), (Floats{6, 8}));
}

TEST_P(BackendConformance, RunsWorkOfTheHostInTheOrderOfTheStream) {
  const Tensor device = device_tensor({1}), host = host_tensor({0});
  float seen = 0;
  const std::function<void()> borrowed = [&] { host.span<float>()[0] += 1; };
  stream_->copy(host, device);
  stream_->enqueue_borrowed(&borrowed);
  stream_->enqueue([&] { seen = host.span<float>()[0]; });
  stream_->copy(device, host);
  stream_->synchronize();
  EXPECT_EQ(seen, 2);
  EXPECT_EQ(values_of(device), Floats{2});
}

TEST_P(BackendConformance, OrdersStreamsByEvents) {
  const auto other = backend_->make_stream("other");
  const Tensor source = host_tensor({1}), device = device_tensor({0}), result = host_tensor({0});
  const Event gate = Event::manual();
  stream_->wait(gate);
  stream_->copy(device, source);
  const Event copied = stream_->record();
  other->wait(copied);
  other->copy(result, device);
  const Event after = other->record();
  EXPECT_FALSE(copied.done());
  EXPECT_FALSE(after.wait_for(std::chrono::microseconds(1)));
  EXPECT_NE(copied.state(), after.state());
  gate.set();
  after.wait();
  EXPECT_TRUE(copied.done());
  EXPECT_EQ(values_of(result), Floats{1});
}

TEST_P(BackendConformance, WaitsForStreamsOfAnotherBackend) {
  const auto other = make_cpu_stream("other", 1);
  const Tensor source = host_tensor({0}), device = device_tensor({0});
  const Event gate = Event::manual();
  other->wait(gate);
  other->enqueue([&] { source.span<float>()[0] = 3; });
  stream_->wait(other->record());
  stream_->copy(device, source);
  other->wait(stream_->record());
  other->enqueue([&] { source.span<float>()[0] = 4; });
  gate.set();
  other->synchronize();
  EXPECT_EQ(values_of(device), Floats{3});
}

TEST_P(BackendConformance, BooksAndAlignsMemoryOfTheHost) {
  for (const std::int64_t size_bytes : {std::int64_t{0}, std::int64_t{1}, std::int64_t{100}, std::int64_t{5} << 20U}) {
    const Buffer buffer = backend_->allocate_host(size_bytes, MemoryKind::staging);
    EXPECT_TRUE(buffer) << size_bytes;
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % kAlignmentBytes, 0U) << size_bytes;
    EXPECT_EQ(backend_->memory()->in_use_bytes(MemoryKind::staging), size_bytes);
    std::fill_n(static_cast<std::byte*>(buffer.data()), size_bytes, std::byte{1});
  }
  EXPECT_EQ(backend_->memory()->in_use_bytes(), 0);
  EXPECT_THROW(backend_->allocate_host(-1, MemoryKind::staging), InvalidArgument);
}

TEST_P(BackendConformance, TransfersFloatsInEveryFloatingType) {
  const Floats values = {1.5F, -2.0F, 0x1p-9F};  // exact in all of them
  for (const DType dtype : {DType::fp32, DType::fp16, DType::bf16}) {
    const Tensor device = backend_->allocate_tensor(dtype, {3}, MemoryKind::weights);
    upload(*backend_, values, device);
    Floats found(3);
    download(*backend_, device, found);
    EXPECT_EQ(found, values) << name(dtype);
    EXPECT_THROW(upload(*backend_, Floats(2), device), InvalidArgument);
    Floats too_few(2);
    EXPECT_THROW(download(*backend_, device, too_few), InvalidArgument);
  }
}

}  // namespace
}  // namespace minim::test

#include "remote/remote_backend.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>

#include "minim/runtime/kernels/elementwise.h"
#include "minim/runtime/transfer.h"
#include "runtime/backend_conformance.h"

namespace minim::test {
namespace {

INSTANTIATE_TEST_SUITE_P(Remote, BackendConformance,
                         ::testing::Values(BackendKind{"remote", minim::testing::make_remote_backend}),
                         ::testing::PrintToStringParamName());

/// Whether the host may read there, found out by the kernel of the system, which does not crash.
bool is_readable(const void* address) {
  int ends[2];
  EXPECT_EQ(pipe(ends), 0);
  const bool readable = write(ends[1], address, 1) == 1;
  EXPECT_TRUE(readable || errno == EFAULT);
  close(ends[0]);
  close(ends[1]);
  return readable;
}

TEST(RemoteBackend, KeepsItsMemoryFromTheHostAndFromKernelsAfterItsEnd) {
  const auto backend = minim::testing::make_remote_backend();
  EXPECT_FALSE(backend->host_accessible());
  Tensor tensor = backend->allocate_tensor(DType::fp32, {5}, MemoryKind::weights);
  const TensorView view = tensor, behind = minim::testing::behind_the_wall(view);
  EXPECT_FALSE(is_readable(view.raw()));
  EXPECT_TRUE(is_readable(behind.raw()));
  tensor = {};
  EXPECT_FALSE(is_readable(behind.raw()));
  const Tensor host = backend->allocate_host_tensor(DType::fp32, {5}, MemoryKind::staging);
  EXPECT_TRUE(is_readable(host.view().raw()));
}

TEST(RemoteBackend, RefusesMemoryThatADeviceWouldNotReach) {
  const auto backend = minim::testing::make_remote_backend();
  const auto stream = backend->make_stream("test");
  const Tensor device = backend->allocate_tensor(DType::fp32, {1}, MemoryKind::weights);
  const Tensor host = backend->allocate_host_tensor(DType::fp32, {1}, MemoryKind::staging);
  float pageable = 0;
  EXPECT_THROW(stream->copy(device, TensorView(&pageable, DType::fp32, {1})), InvalidArgument);
  EXPECT_THROW(stream->copy(TensorView(&pageable, DType::fp32, {1}), device), InvalidArgument);
  EXPECT_THROW(backend->prepare(Zero{.y = host}), InvalidArgument);
}

}  // namespace
}  // namespace minim::test

#include <gtest/gtest.h>

#include <cstdlib>

#include "minim/runtime/cuda.h"
#include "minim/runtime/kernels/elementwise.h"

namespace minim {
namespace {

/// Names the module for as long as a test runs; empty: the one beside the program.
class CudaModule : public testing::Test {
 protected:
  ~CudaModule() override { unsetenv("MINIM_CUDA_MODULE"); }

  static void use(const char* file) { setenv("MINIM_CUDA_MODULE", file, 1); }
  /// Why there is no device; counts as a failure where there is one.
  static std::string reason() {
    std::string reason;
    EXPECT_EQ(cuda_device_count(reason), 0);
    return reason;
  }
  /// What opening a backend throws.
  static std::string failure() {
    try {
      make_cuda_backend({});
    } catch (const DeviceError& error) {
      return error.what();
    }
    return {};
  }
  static bool says(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
};

TEST_F(CudaModule, BesideTheProgramIsMissedInOneSentence) {
  EXPECT_FALSE(has_cuda_module());
  EXPECT_TRUE(says(reason(), "/libminim_cuda.so")) << reason();
  EXPECT_TRUE(says(reason(), "built without CUDA")) << reason();
  EXPECT_EQ(failure(), reason());
}

TEST_F(CudaModule, ThatTheEnvironmentNamesIsMissed) {
  use("/nonexistent/module.so");
  EXPECT_FALSE(has_cuda_module());
  EXPECT_EQ(reason(), "there is no CUDA module /nonexistent/module.so, which MINIM_CUDA_MODULE names");
}

TEST_F(CudaModule, WhoseLibrariesAreMissingNamesTheLibrary) {
  use(UNLOADABLE_MODULE);
  EXPECT_TRUE(has_cuda_module());
  EXPECT_TRUE(says(reason(), "libabsent_cuda_library.so")) << reason();
  EXPECT_EQ(failure(), reason());
}

TEST_F(CudaModule, OfAnotherKindIsRefused) {
  use(FOREIGN_MODULE);
  EXPECT_TRUE(says(reason(), "another version of minim")) << reason();
  EXPECT_THROW(cuda_device_info(0), DeviceError);
  EXPECT_EQ(failure(),
            "the CUDA module " FOREIGN_MODULE " has no minim_make_cuda_backend: it belongs to another version of minim");
}

TEST_F(CudaModule, SaysItselfWhyThereIsNoDevice) {
  use(DEVICELESS_MODULE);
  EXPECT_EQ(reason(), "there is no driver here");
  EXPECT_EQ(failure(), reason());
}

TEST_F(CudaModule, TellsOfItsDevices) {
  use(THREE_DEVICES_MODULE);
  std::string reason;
  EXPECT_EQ(cuda_device_count(reason), 3);
  EXPECT_EQ(reason, "");
  EXPECT_EQ(cuda_device_info(1).name, "device 1");
  EXPECT_EQ(cuda_device_info(1).capability, 90);
  EXPECT_THROW(cuda_device_info(2), DeviceError);
}

TEST_F(CudaModule, BringsABackendWhoseKernelsAreFoundByTheProgramsTypes) {
  use(THREE_DEVICES_MODULE);
  const auto backend = make_cuda_backend({});
  ASSERT_TRUE(backend->has_kernel<Zero>());
  const Tensor tensor = backend->allocate_tensor(DType::fp32, {3}, MemoryKind::workspace);
  tensor.span<float>()[1] = 1;
  backend->run(*backend->make_stream("test"), Zero{.y = tensor});
  EXPECT_EQ(tensor.span<float>()[1], 0);
  EXPECT_THROW(backend->copy(tensor, ConstTensorView()), InvalidArgument) << "errors of the module are caught by the program";
}

}  // namespace
}  // namespace minim

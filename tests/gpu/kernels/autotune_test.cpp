#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "cuda/cudnn/convolution_plan.h"
#include "cuda/cudnn/plan_cache.h"
#include "cuda/cudnn/tuning.h"
#include "minim/runtime/cuda.h"
#include "scratch_directory.h"

/// Convolutions whose plans are timed. Where cuDNN is a double its setting MINIM_DOUBLE_PROPOSALS says which proposal is fast,
/// and which computes something else; see CMakeLists.txt.
namespace minim::cuda::cudnn {
namespace {

namespace fs = std::filesystem;

const ConvolutionProblem kProblem{.pass = ConvolutionPass::forward,
                                  .storage = DType::fp16,
                                  .x = {4, 14, 14, 32},
                                  .w = {32, 3, 3, 32},
                                  .y = {4, 14, 14, 32},
                                  .geometry = {.pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1}};

std::vector<Plan> proposed() { return plans_of_convolution(kProblem, DeviceProperties::of_device(0), 8); }

std::string fastest(int* calls = nullptr) {
  const auto plan = fastest_plan(kProblem, proposed(), std::make_shared<CudaDevice>(0), [calls] {
    if (calls != nullptr) ++*calls;
  });
  return plan ? plan->choice : "";
}

TEST(Autotune, HasPlansToChooseFrom) {
  const auto plans = proposed();
  ASSERT_GT(plans.size(), 2U);
  for (std::size_t i = 0; i < plans.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) EXPECT_NE(plans[i].choice, plans[j].choice);
    const auto same = plans_of_convolution(kProblem, DeviceProperties::of_device(0), 8, plans[i].choice);
    ASSERT_EQ(same.size(), 1U);
    EXPECT_EQ(same.front().workspace_bytes, plans[i].workspace_bytes);
  }
  EXPECT_THROW(plans_of_convolution(kProblem, DeviceProperties::of_device(0), 8, "no such choice"), DeviceError);
}

TEST(Autotune, TakesTheFastest) {
  int calls = 0;
  EXPECT_EQ(fastest(&calls), proposed().at(1).choice);
  EXPECT_GT(calls, 3);
}
TEST(Autotune, PassesOverTheFastestWhenItsSumsAreWrong) { EXPECT_NE(fastest(), proposed().at(1).choice); }
TEST(Autotune, PassesOverTheFirstWhenItsSumsAreWrong) { EXPECT_EQ(fastest(), proposed().at(2).choice); }
TEST(Autotune, IsDoneWithoutWhereThereIsNoMemory) { EXPECT_EQ(fastest(), ""); }

/// What a backend with such a cache says of the problem's workspace, which tells plans apart, and the file that is there then.
std::string file_after_planning(const fs::path& directory) {
  setenv("MINIM_PLAN_CACHE", directory.c_str(), 1);
  const auto backend = make_cuda_backend({.autotune = true});
  const auto tensor = [&](const Shape& shape) { return backend->allocate_tensor(DType::fp16, shape, MemoryKind::workspace); };
  const Tensor x = tensor(kProblem.x), w = tensor(kProblem.w), y = tensor(kProblem.y);
  backend->workspace_bytes(Conv2dForward{.x = x, .w = w, .bias = {}, .y = y, .geometry = kProblem.geometry, .workspace = {}});
  std::string text;
  for (const auto& entry : fs::directory_iterator(directory)) {
    std::ifstream in(entry.path());
    text.append(std::istreambuf_iterator<char>(in), {});
  }
  return text;
}

TEST(Autotune, RemembersItsChoiceInAFile) {
  const testing::ScratchDirectory scratch;
  EXPECT_EQ(file_after_planning(scratch.path()), describe(kProblem) + " = " + proposed().at(1).choice + "\n");
}

}  // namespace
}  // namespace minim::cuda::cudnn

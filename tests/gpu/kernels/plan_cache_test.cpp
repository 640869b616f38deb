#include "cuda/cudnn/plan_cache.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "scratch_directory.h"

namespace minim::cuda::cudnn {
namespace {

namespace fs = std::filesystem;

TEST(PlanCache, OutlivesTheProcessAndIsShared) {
  const testing::ScratchDirectory scratch;
  const fs::path file = scratch.path() / "new" / "gpu.plans";
  PlanCache one(file), other(file);
  EXPECT_EQ(one.find("a, b = c"), "");
  one.keep("a", "1 2:3");
  other.keep("b", "4");
  EXPECT_EQ(PlanCache(file).find("a"), "1 2:3");
  EXPECT_EQ(PlanCache(file).find("b"), "4");
  one.keep("a", "5");
  EXPECT_EQ(PlanCache(file).find("a"), "5");
  EXPECT_EQ(PlanCache(file).find("b"), "4");
  EXPECT_EQ(std::distance(fs::directory_iterator(file.parent_path()), fs::directory_iterator()), 1);
}

TEST(PlanCache, DoesWithoutAFile) {
  const testing::ScratchDirectory scratch;
  std::ofstream(scratch.path() / "file") << "\x01 no equals sign\n = \na = 1";
  PlanCache damaged(scratch.path() / "file");
  EXPECT_EQ(damaged.find("a"), "1");
  PlanCache impossible(scratch.path() / "file" / "below" / "gpu.plans");
  impossible.keep("a", "2");
  EXPECT_EQ(impossible.find("a"), "2");
  PlanCache none({});
  none.keep("a", "3");
  EXPECT_EQ(none.find("a"), "3");
}

}  // namespace
}  // namespace minim::cuda::cudnn

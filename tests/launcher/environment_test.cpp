#include "command/environment.h"

#include <gtest/gtest.h>

#include <map>

namespace minim::command {
namespace {

GetEnvironment pretend(std::map<std::string, std::string> variables) {
  return [variables](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  };
}

TEST(LaunchClaim, NothingSaidIsOneRank) {
  const LaunchClaim claim = read_launch_claim(pretend({}));
  EXPECT_EQ(claim.size, 1);
  EXPECT_EQ(lonely_ranks_error(claim, 1), "");
}

TEST(LaunchClaim, ProcessesThatSrunStartedWithoutMpiAreRecognised) {
  const LaunchClaim claim =
      read_launch_claim(pretend({{"SLURM_STEP_NUM_TASKS", "8"}, {"SLURM_NTASKS", "8"}, {"SLURM_PROCID", "3"}}));
  EXPECT_EQ(claim.rank, 3);
  const std::string error = lonely_ranks_error(claim, 1);
  EXPECT_NE(error.find("SLURM_STEP_NUM_TASKS=8"), std::string::npos) << error;
  EXPECT_NE(error.find("srun --mpi=pmix"), std::string::npos) << error;
  EXPECT_EQ(lonely_ranks_error(claim, 8), "");
}

TEST(LaunchClaim, AJobOfManyTasksStartedWithoutALauncherIsRecognised) {
  EXPECT_NE(lonely_ranks_error(read_launch_claim(pretend({{"SLURM_NTASKS", "4"}})), 1), "");
}

TEST(LaunchClaim, AnotherMpisLauncherIsRecognised) {
  const std::string error = lonely_ranks_error(read_launch_claim(pretend({{"PMI_SIZE", "2"}, {"PMI_RANK", "1"}})), 1);
  EXPECT_NE(error.find("PMI_SIZE=2"), std::string::npos) << error;
}

TEST(LaunchClaim, TheNearestLauncherDecides) {
  // One rank under mpirun inside an allocation of eight tasks is what was asked for.
  const auto claim =
      read_launch_claim(pretend({{"OMPI_COMM_WORLD_SIZE", "1"}, {"OMPI_COMM_WORLD_RANK", "0"}, {"SLURM_NTASKS", "8"}}));
  EXPECT_EQ(lonely_ranks_error(claim, 1), "");
  const auto step = read_launch_claim(pretend({{"SLURM_STEP_NUM_TASKS", "1"}, {"SLURM_NTASKS", "8"}}));
  EXPECT_EQ(lonely_ranks_error(step, 1), "");
}

TEST(LaunchClaim, RanksThatMeetOverTcpAreThoseOfTheirOwnVariables) {
  const auto claim = read_launch_claim(pretend({{"MINIM_WORLD_SIZE", "3"}, {"MINIM_RANK", "2"}, {"SLURM_NTASKS", "8"}}));
  EXPECT_EQ(claim.size, 3);
  EXPECT_EQ(claim.rank, 2);
}

TEST(LaunchClaim, NonsenseIsIgnored) { EXPECT_EQ(read_launch_claim(pretend({{"PMI_SIZE", "2x"}})).size, 1); }

TEST(AllocationEnd, IsReadFromSlurm) {
  EXPECT_EQ(allocation_end(pretend({{"SLURM_JOB_END_TIME", "1700000000"}})), 1700000000);
  EXPECT_FALSE(allocation_end(pretend({})).has_value());
}

TEST(Cores, AreListedAsRanges) {
  EXPECT_EQ(format_cores({0, 1, 2, 3, 8, 10, 11}), "0-3,8,10-11");
  EXPECT_EQ(format_cores({}), "");
}

TEST(DefaultThreads, RanksThatMayRunOnTheSameCoresShareThem) {
  EXPECT_EQ(default_threads(16, 2), 8);
  EXPECT_EQ(default_threads(16, 3), 5);
  EXPECT_EQ(default_threads(2, 8), 1);
}

TEST(DefaultThreads, RanksThatAreBoundUseTheirOwnCores) { EXPECT_EQ(default_threads(4, 1), 4); }

}  // namespace
}  // namespace minim::command

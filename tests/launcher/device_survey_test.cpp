#include "command/device_survey.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace minim::command {
namespace {

DeviceReport with_device(int node, const std::string& identity) {
  return {.node = node, .name = "GPU", .identity = identity, .has_gpu = true, .has_module = true};
}
DeviceReport without_device(const std::string& reason) { return {.reason = reason}; }

TEST(DeviceSurvey, TakesCudaWhereEveryRankHasADevice) {
  const DeviceSurvey survey("auto", {with_device(0, "a"), with_device(1, "a")}, 1);
  EXPECT_TRUE(survey.uses_cuda());
  EXPECT_TRUE(survey.notices().empty());
}

TEST(DeviceSurvey, TakesTheCpuOnAllRanksWhereOneHasNoDevice) {
  for (const int rank : {0, 1}) {
    const DeviceSurvey survey("auto", {with_device(0, "a"), without_device("no driver")}, rank);
    EXPECT_FALSE(survey.uses_cuda());
    EXPECT_EQ(survey.notices(), std::vector<std::string>{"computing on the CPU: rank 1: no driver"});
    EXPECT_EQ(survey.open(1)->name(), "cpu");
  }
}

TEST(DeviceSurvey, SaysWhyTheCpuComputesWhereAGpuOrAModuleIsThere) {
  DeviceReport report = without_device("no driver");
  EXPECT_TRUE(DeviceSurvey("auto", {report}, 0).notices().empty()) << "nobody expects one here";
  report.has_module = true;
  EXPECT_EQ(DeviceSurvey("auto", {report}, 0).notices().front(), "computing on the CPU: no driver");
  report = {.reason = "no module", .has_gpu = true};
  EXPECT_EQ(DeviceSurvey("auto", {report}, 0).notices().front(), "computing on the CPU: no module");
}

TEST(DeviceSurvey, ObeysWhoAsksForTheCpu) {
  const DeviceSurvey survey("cpu", {with_device(0, "a")}, 0);
  EXPECT_FALSE(survey.uses_cuda());
  EXPECT_TRUE(survey.notices().empty());
  EXPECT_EQ(survey.open(1)->name(), "cpu");
}

TEST(DeviceSurvey, RefusesCudaOnTheRankThatLacksIt) {
  const std::vector<DeviceReport> reports = {with_device(0, "a"), without_device("no driver")};
  try {
    DeviceSurvey("cuda", reports, 1).open(1);
    FAIL() << "nothing was thrown";
  } catch (const InvalidArgument& error) {
    EXPECT_STREQ(error.what(), "--device cuda: no driver");
  }
}

TEST(DeviceSurvey, WarnsOfRanksOfANodeThatShareADevice) {
  // Devices are told apart by what they are: each of these processes may call its own number 0.
  const std::vector<DeviceReport> reports = {with_device(0, "a"), with_device(0, "b"), with_device(1, "a"), with_device(0, "a")};
  EXPECT_EQ(DeviceSurvey("auto", reports, 0).notices(),
            std::vector<std::string>{"node 0: 2 ranks share CUDA device 0 (GPU) and compute in turn"});
}

TEST(DeviceSurvey, FindsTheRankThatHasLeastMemoryOfItsDevice) {
  std::vector<DeviceReport> reports = {with_device(0, "a"), with_device(0, "b"), with_device(1, "a"), with_device(0, "a")};
  reports[0].free_bytes = 1000;
  reports[1].free_bytes = 600;
  reports[2].free_bytes = 700;
  reports[3].free_bytes = 998;  // measured a little later than on rank 0, which has the same device
  const MemoryShare least = DeviceSurvey("auto", reports, 1).memory();
  EXPECT_EQ(least.size_bytes, 499);
  EXPECT_EQ(least.rank, 3);
  EXPECT_EQ(least.ranks, 2);
}

TEST(DeviceSurvey, ConnectsSeveralRanksByNcclWhereEachHasADeviceOfItsOwn) {
  EXPECT_TRUE(DeviceSurvey("auto", {with_device(0, "a"), with_device(0, "b"), with_device(1, "a")}, 0).suits_nccl());
  EXPECT_FALSE(DeviceSurvey("auto", {with_device(0, "a"), with_device(0, "a")}, 0).suits_nccl());
  EXPECT_TRUE(DeviceSurvey("auto", {with_device(0, "a")}, 0).suits_nccl());
  EXPECT_FALSE(DeviceSurvey("cpu", {with_device(0, "a"), with_device(0, "b")}, 0).suits_nccl());
}

/// With a module that finds three devices, the last too old.
class DeviceLookup : public testing::Test {
 protected:
  DeviceLookup() { setenv("MINIM_CUDA_MODULE", THREE_DEVICES_MODULE, 1); }
  ~DeviceLookup() override { unsetenv("MINIM_CUDA_MODULE"); }
};

TEST_F(DeviceLookup, GivesRanksOfANodeTheirDevicesInTurn) {
  const auto communicators = make_thread_communicators(6, {.ranks_per_node = 4});
  std::vector<std::string> names;
  for (const auto& communicator : communicators) names.push_back(look_for_device(*communicator, true).name);
  EXPECT_EQ(names, (std::vector<std::string>{"device 0", "device 1", "", "device 0", "device 0", "device 1"}));
  EXPECT_EQ(look_for_device(*communicators[2], true).reason, "device 2 is too old");
}

TEST_F(DeviceLookup, LooksForNothingThatIsNotWanted) {
  const auto communicator = make_self_communicator();
  EXPECT_EQ(look_for_device(*communicator, false).name, "");
  EXPECT_EQ(DeviceSurvey("cpu", *communicator).open(1)->name(), "cpu");
}

TEST_F(DeviceLookup, EndsInTheModulesBackend) {
  const auto communicator = make_self_communicator();
  const DeviceSurvey survey("auto", *communicator);
  EXPECT_TRUE(survey.uses_cuda());
  EXPECT_EQ(survey.open(1)->name(), "reference") << "which is what the stand-in makes";
}

}  // namespace
}  // namespace minim::command

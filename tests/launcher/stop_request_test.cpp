#include "command/stop_request.h"

#include <gtest/gtest.h>

#include <csignal>

#include "command/exit_code.h"
#include "minim/runtime/error.h"

namespace minim::command {
namespace {

std::int64_t seconds_from_now(std::int64_t seconds) {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count() + seconds;
}

TEST(StopRequest, IsMadeAheadOfTheEndOfTheAllocation) {
  EXPECT_FALSE(StopRequest({}, 120).requested());
  EXPECT_FALSE(StopRequest(seconds_from_now(3600), 120).requested());
  const StopRequest soon(seconds_from_now(60), 120);
  EXPECT_TRUE(soon.requested());
  EXPECT_EQ(soon.reason(), "the end of the allocation");
}

TEST(StopRequest, SignalsAreRequests) {
  const StopRequest stop({}, 0);
  install_stop_signals();
  EXPECT_FALSE(stop.requested());
  std::raise(SIGUSR1);
  EXPECT_TRUE(stop.requested());
  EXPECT_EQ(stop.reason(), "SIGUSR1");
  std::raise(SIGTERM);
  EXPECT_EQ(stop.reason(), "SIGTERM");
}

TEST(ExitCode, TellsJobScriptsWhatHappened) {
  EXPECT_EQ(static_cast<int>(exit_code_of(InvalidArgument(""))), 2);
  EXPECT_EQ(static_cast<int>(exit_code_of(DataError(""))), 2);
  EXPECT_EQ(static_cast<int>(exit_code_of(NumericError(""))), 3);
  EXPECT_EQ(static_cast<int>(exit_code_of(CommError(""))), 4);
  EXPECT_EQ(static_cast<int>(exit_code_of(DeviceError(""))), 1);
  EXPECT_EQ(static_cast<int>(ExitCode::preempted), 75);
}

}  // namespace
}  // namespace minim::command

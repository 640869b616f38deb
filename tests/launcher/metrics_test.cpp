#include "command/metrics.h"

#include <gtest/gtest.h>

#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "minim/runtime/error.h"
#include "scratch_directory.h"

namespace minim::command {
namespace {

class MetricsFile : public ::testing::Test {
 protected:
  std::filesystem::path file() const { return scratch_.path() / "metrics.jsonl"; }
  std::string text() const {
    std::ostringstream result;
    result << std::ifstream(file()).rdbuf();
    return result.str();
  }
  static StepState state_after(std::int64_t steps) {
    StepState state;
    state.attempted = steps;
    state.applied = steps - 1;
    state.loss = 3;
    state.weight = 2;
    state.correct = 1;
    return state;
  }
  /// Two records a step: the step and, where it is even, an evaluation.
  static void write(Metrics& metrics, std::int64_t from, std::int64_t to) {
    for (std::int64_t step = from; step <= to; ++step) {
      metrics.step(state_after(step), {.epoch = 1});
      if (step % 2 == 0) metrics.evaluation(state_after(step), 1, {.loss = 1, .accuracy = 0.5, .weight = 10}, 0);
    }
  }
  testing::ScratchDirectory scratch_;
};

TEST_F(MetricsFile, EveryRecordIsOneLineOfJson) {
  Metrics metrics(file());
  write(metrics, 1, 2);
  metrics.skip(state_after(3), "gradient of \"conv1.weight\"");
  std::istringstream lines(text());
  std::vector<nlohmann::json> records;
  for (std::string line; std::getline(lines, line);) records.push_back(nlohmann::json::parse(line));
  ASSERT_EQ(records.size(), 4U);
  EXPECT_EQ(records[0]["loss"], 1.5);
  EXPECT_EQ(records[0]["skipped"], 1);
  EXPECT_EQ(records[2]["event"], "evaluation");
  EXPECT_EQ(records[3]["tensor"], "gradient of \"conv1.weight\"");
}

TEST_F(MetricsFile, WhatIsNotFiniteIsNull) {
  Metrics metrics(file());
  StepState state = state_after(1);
  state.loss = std::numeric_limits<double>::infinity();
  metrics.step(state, {});
  EXPECT_TRUE(nlohmann::json::parse(text())["loss"].is_null());
}

TEST_F(MetricsFile, AKilledRunThatWasResumedLeavesTheSameFile) {
  {
    Metrics metrics(file());
    write(metrics, 1, 8);
  }
  const std::string uninterrupted = text();
  std::filesystem::remove(file());
  {
    Metrics metrics(file());
    write(metrics, 1, 6);  // beyond the checkpoint of step 4
  }
  std::ofstream(file(), std::ios::app) << R"({"event":"step","st)";
  Metrics::truncate(file(), 4);
  Metrics metrics(file());
  write(metrics, 5, 8);
  EXPECT_EQ(text(), uninterrupted);
}

TEST_F(MetricsFile, TruncatingToTheStartLeavesNothing) {
  {
    Metrics metrics(file());
    write(metrics, 1, 3);
  }
  Metrics::truncate(file(), 0);
  EXPECT_EQ(text(), "");
  Metrics::truncate(scratch_.path() / "absent.jsonl", 0);
}

TEST_F(MetricsFile, KnowsWhichStepsWereEvaluated) {
  Metrics metrics(file());
  write(metrics, 1, 3);
  EXPECT_TRUE(Metrics::has_evaluation(file(), 2));
  EXPECT_FALSE(Metrics::has_evaluation(file(), 3));
}

TEST_F(MetricsFile, ADirectoryThatIsNotThereIsNamed) {
  try {
    Metrics metrics(scratch_.path() / "absent" / "metrics.jsonl");
    FAIL();
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("absent/metrics.jsonl"), std::string::npos);
  }
}

}  // namespace
}  // namespace minim::command

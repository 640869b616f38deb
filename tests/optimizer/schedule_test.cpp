#include "minim/optimizer/schedule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numbers>

#include "minim/runtime/error.h"

namespace minim {
namespace {

TEST(Schedule, HoldsAConstantRate) {
  const auto rates = learning_rates({.base = 0.1, .total_steps = 3});
  EXPECT_EQ(rates, (std::vector<float>{0.1F, 0.1F, 0.1F}));
}

TEST(Schedule, RisesLinearlyDuringWarmUp) {
  const auto rates = learning_rates({.base = 1, .warmup_steps = 4, .total_steps = 6});
  EXPECT_EQ(rates, (std::vector<float>{0.25F, 0.5F, 0.75F, 1, 1, 1}));
}

TEST(Schedule, IsLongEnoughForWarmUpAndMilestonesToEnd) {
  EXPECT_EQ(learning_rates({.base = 1, .warmup_steps = 2}).back(), 1.0F);
  EXPECT_EQ(learning_rates({.kind = ScheduleKind::step, .base = 1, .milestones = {5}, .gamma = 0.5}).back(), 0.5F);
}

TEST(Schedule, FallsByGammaFromEachMilestoneOn) {
  const auto rates =
      learning_rates({.kind = ScheduleKind::step, .base = 1, .total_steps = 6, .milestones = {2, 3, 5}, .gamma = 0.5});
  EXPECT_EQ(rates, (std::vector<float>{1, 1, 0.5F, 0.25F, 0.25F, 0.125F}));
}

TEST(Schedule, FallsAlongACosineAfterWarmUp) {
  const auto rates = learning_rates({.kind = ScheduleKind::cosine, .base = 2, .warmup_steps = 2, .total_steps = 6});
  ASSERT_EQ(rates.size(), 6U);
  EXPECT_EQ(rates[0], 1.0F);
  EXPECT_EQ(rates[1], 2.0F);
  for (int step = 2; step < 6; ++step) {
    EXPECT_EQ(rates[static_cast<std::size_t>(step)], static_cast<float>(1 + std::cos(std::numbers::pi * (step - 2) / 4.0)));
  }
}

TEST(Schedule, FallsAlongAPolynomialAfterWarmUp) {
  ScheduleConfig config{.kind = ScheduleKind::poly, .base = 2, .warmup_steps = 2, .total_steps = 6};
  EXPECT_EQ(learning_rates(config), (std::vector<float>{1, 2, 2, 1.5F, 1, 0.5F}));
  config.power = 2;
  EXPECT_EQ(learning_rates(config), (std::vector<float>{1, 2, 2, 1.125F, 0.5F, 0.125F}));
  config.power = 0.5;
  EXPECT_EQ(learning_rates(config)[3], static_cast<float>(2 * std::sqrt(0.75)));
}

TEST(Schedule, RefusesWhatHasNoMeaning) {
  EXPECT_THROW(learning_rates({.base = -1}), InvalidArgument);
  EXPECT_THROW(learning_rates({.base = std::nan("")}), InvalidArgument);
  EXPECT_THROW(learning_rates({.warmup_steps = -1}), InvalidArgument);
  EXPECT_THROW(learning_rates({.total_steps = 0}), InvalidArgument);
  EXPECT_THROW(learning_rates({.kind = ScheduleKind::cosine, .warmup_steps = 5, .total_steps = 5}), InvalidArgument);
  EXPECT_THROW(learning_rates({.kind = ScheduleKind::step, .milestones = {3, 2}}), InvalidArgument);
  EXPECT_THROW(learning_rates({.kind = ScheduleKind::poly, .warmup_steps = 5, .total_steps = 5}), InvalidArgument);
  EXPECT_THROW(learning_rates({.kind = ScheduleKind::poly, .total_steps = 5, .power = 0}), InvalidArgument);
  EXPECT_THROW(learning_rates({.warmup_steps = std::numeric_limits<std::int64_t>::max()}), InvalidArgument);
  EXPECT_THROW(learning_rates({.total_steps = std::numeric_limits<std::int64_t>::max()}), InvalidArgument);
}

TEST(Schedule, IsKnownByName) {
  for (const auto kind : {ScheduleKind::constant, ScheduleKind::step, ScheduleKind::cosine, ScheduleKind::poly}) {
    EXPECT_EQ(parse_schedule(name(kind)), kind);
  }
  EXPECT_THROW(parse_schedule("linear"), InvalidArgument);
}

}  // namespace
}  // namespace minim

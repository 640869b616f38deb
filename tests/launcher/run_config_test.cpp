#include "command/run_config.h"

#include <gtest/gtest.h>

#include <limits>
#include <type_traits>

#include "command/command_line.h"
#include "command/run_options.h"
#include "minim/runtime/error.h"

namespace minim::command {
namespace {

std::string error_of_resolving(RunConfig config) {
  try {
    resolve(std::move(config));
  } catch (const InvalidArgument& error) {
    return error.what();
  }
  return {};
}

/// A configuration in which nothing has its default.
RunConfig unusual() {
  RunConfig config;
  visit_options(config, [](const OptionInfo& info, auto& value) {
    using T = std::remove_reference_t<decltype(value)>;
    if constexpr (std::is_same_v<T, std::string>)
      value = info.choices.empty() ? "a \"#\" b" : info.choices.back();
    else if constexpr (std::is_same_v<T, bool>)
      value = !value;
    else
      value += static_cast<T>(3);
  });
  config.lr = 0.1;
  config.weight_decay = 1.0 / 3;
  return config;
}

TEST(RunConfig, SurvivesBeingWrittenAndRead) {
  const RunConfig config = unusual();
  const RunConfig read = apply_toml(RunConfig{}, to_toml(config), "config.toml");
  EXPECT_EQ(to_toml(read), to_toml(config));
  EXPECT_EQ(read.weight_decay, config.weight_decay);
  EXPECT_EQ(read.data, config.data);
  EXPECT_EQ(configuration_hash(read), configuration_hash(config));
}

TEST(RunConfig, DefaultsSurviveToo) {
  const RunConfig config = resolve(RunConfig{});
  EXPECT_EQ(to_toml(apply_toml(unusual(), to_toml(config), "config.toml")), to_toml(config));
}

TEST(RunConfig, SavedConfigurationDoesNotSayWhereItsResultsWent) {
  RunConfig config;
  config.output = "/somewhere/else";
  EXPECT_EQ(to_toml(config).find("output"), std::string::npos);
}

TEST(RunConfig, ResolvingIsStable) {
  const RunConfig once = resolve(RunConfig{});
  EXPECT_EQ(to_toml(resolve(once)), to_toml(once));
}

TEST(RunConfig, PhotosAreAugmentedUnlessToldOtherwise) {
  RunConfig config;
  EXPECT_EQ(resolve(config).augment, "none");
  config.augment = "crop-flip";
  EXPECT_EQ(resolve(config).augment, "crop-flip");
  config.dataset = "synthetic";
  EXPECT_NE(error_of_resolving(config).find("--augment crop-flip"), std::string::npos);
  config.augment = "auto";
  EXPECT_EQ(resolve(config).augment, "none");
  for (const char* dataset : {"cifar-10", "cifar-100", "image-folder", "webdataset"}) {
    config.dataset = dataset;
    EXPECT_EQ(resolve(config).augment, "crop-flip") << dataset;
  }
}

TEST(RunConfig, OnlyDecodedImagesAreCached) {
  RunConfig config;
  config.cache_decoded = 8;
  EXPECT_NE(error_of_resolving(config).find("--cache-decoded is for photos in files; fashion-mnist has none"), std::string::npos);
  config.dataset = "image-folder";
  EXPECT_EQ(cache_bytes(resolve(config)), 8 << 20);
  config.cache_decoded = -1;
  EXPECT_NE(error_of_resolving(config).find("--cache-decoded is -1"), std::string::npos);
}

TEST(RunConfig, LossScaleFollowsThePrecision) {
  RunConfig config;
  EXPECT_EQ(resolve(config).loss_scale, "dynamic");
  config.precision = "bf16";
  EXPECT_EQ(resolve(config).loss_scale, "off");
  config.loss_scale = "dynamic";
  EXPECT_NE(error_of_resolving(config).find("--loss-scale dynamic"), std::string::npos);
  config.loss_scale = "128";
  EXPECT_NE(error_of_resolving(config).find("--precision bf16"), std::string::npos);
}

TEST(RunConfig, ConstantLossScaleIsAPowerOfTwo) {
  RunConfig config;
  config.loss_scale = "128";
  EXPECT_EQ(loss_scale_config(resolve(config)).mode, LossScaleMode::constant);
  EXPECT_EQ(loss_scale_config(resolve(config)).initial, 128.0F);
  config.loss_scale = "100";
  EXPECT_NE(error_of_resolving(config).find("--loss-scale 100"), std::string::npos);
  config.loss_scale = "high";
  EXPECT_NE(error_of_resolving(config).find("\"high\" is not a number"), std::string::npos);
}

TEST(RunConfig, RefusalsNameTheOption) {
  RunConfig config;
  config.batch = 0;
  EXPECT_EQ(error_of_resolving(config), "--batch is 0, it must be at least 1");
  config = {};
  config.momentum = 1;
  EXPECT_NE(error_of_resolving(config).find("--momentum"), std::string::npos);
  config = {};
  config.milestones = "0.5,7";
  EXPECT_NE(error_of_resolving(config).find("--milestones"), std::string::npos);
  config = {};
  config.lr = std::numeric_limits<double>::quiet_NaN();
  EXPECT_NE(error_of_resolving(config).find("--lr"), std::string::npos);
}

TEST(RunConfig, NumbersOfTheRuleFollowTheOptimizer) {
  RunConfig config;
  EXPECT_EQ(resolve(config).momentum, 0.9);
  EXPECT_EQ(resolve(config).weight_decay, 1e-4);
  config.optimizer = "adamw";
  EXPECT_EQ(resolve(config).lr, 0.001);
  EXPECT_EQ(resolve(config).weight_decay, 0.01);
  EXPECT_EQ(resolve(config).epsilon, 1e-8);
  config.optimizer = "rmsprop";
  EXPECT_EQ(resolve(config).momentum, 0);
  config.momentum = 0.5;
  config.weight_decay = 0;
  EXPECT_EQ(resolve(config).momentum, 0.5);
  EXPECT_EQ(resolve(config).weight_decay, 0);
}

TEST(RunConfig, RefusalsOfTheRuleNameTheOption) {
  const auto expect = [](const char* part, const char* optimizer, double RunConfig::*member, double value) {
    RunConfig config;
    config.optimizer = optimizer;
    config.*member = value;
    EXPECT_NE(error_of_resolving(config).find(part), std::string::npos) << error_of_resolving(config);
  };
  expect("--momentum is -0.5", "rmsprop", &RunConfig::momentum, -0.5);
  expect("--weight-decay", "adamw", &RunConfig::weight_decay, -2);
  expect("--beta1", "adam", &RunConfig::beta1, 1);
  expect("--beta2", "adamw", &RunConfig::beta2, -1);
  expect("--alpha", "rmsprop", &RunConfig::alpha, 1);
  expect("--initial-accumulator", "adagrad", &RunConfig::initial_accumulator, -1);
  expect("--epsilon", "adam", &RunConfig::epsilon, -1e-8);
  expect("--optimizer adam: Adam: epsilon", "adam", &RunConfig::epsilon, 1e-60);
  expect("--trust-coefficient", "lars", &RunConfig::trust_coefficient, 0);
  expect("--power", "sgd", &RunConfig::power, 0);
  RunConfig config;
  config.nesterov = true;
  EXPECT_EQ(error_of_resolving(config), "");
  config.momentum = 0;
  EXPECT_NE(error_of_resolving(config).find("--nesterov"), std::string::npos);
  config.momentum = 0.9;
  config.optimizer = "adam";
  EXPECT_NE(error_of_resolving(config).find("--nesterov"), std::string::npos);
}

TEST(RunConfig, RefusesWhatItsTypesCannotHold) {
  RunConfig config;
  config.accumulate = (std::int64_t{1} << 32) + 1;
  EXPECT_EQ(error_of_resolving(config), "--accumulate is 4294967297, it must be at most 1048576");
  config = {};
  config.keep = std::int64_t{1} << 32;
  EXPECT_NE(error_of_resolving(config).find("--keep"), std::string::npos);
  config = {};
  config.deadline = 1e300;
  EXPECT_NE(error_of_resolving(config).find("--deadline"), std::string::npos);
  config = {};
  config.ranks_per_node = -1;
  EXPECT_NE(error_of_resolving(config).find("--ranks-per-node"), std::string::npos);
}

TEST(RunConfig, HashIgnoresTheMannerOfRunning) {
  RunConfig config, other;
  other.threads = 7;
  other.output = "elsewhere";
  EXPECT_EQ(configuration_hash(config), configuration_hash(other));
  other.seed = 2;
  EXPECT_NE(configuration_hash(config), configuration_hash(other));
}

TEST(ResumeConflict, NumbersStayMannerMayChange) {
  const RunConfig before = resolve(RunConfig{});
  RunConfig now = before;
  now.threads = 3;
  now.output = "x";
  EXPECT_EQ(resume_conflict(before, now, true), "");
  now.lr = 1;
  EXPECT_NE(resume_conflict(before, now, true).find("--lr 1 differs from the run's 0.02"), std::string::npos);
}

TEST(ResumeConflict, BatchMayChangeWithTheNumberOfRanksOnly) {
  const RunConfig before = resolve(RunConfig{});
  RunConfig now = before;
  now.batch = 32;
  EXPECT_NE(resume_conflict(before, now, true).find("--batch"), std::string::npos);
  EXPECT_EQ(resume_conflict(before, now, false), "");
}

TEST(ResumeConflict, LengthMayChangeUnderAConstantRateOnly) {
  RunConfig before = resolve(RunConfig{});
  RunConfig now = before;
  now.epochs = 9;
  EXPECT_NE(resume_conflict(before, now, true).find("cosine schedule depends on it"), std::string::npos);
  before.schedule = now.schedule = "constant";
  EXPECT_EQ(resume_conflict(before, now, true), "");
}

TEST(ResumeConflict, NumbersOfTheRuleStay) {
  const RunConfig before = resolve(RunConfig{});
  RunConfig now = before;
  now.nesterov = true;
  EXPECT_NE(resume_conflict(before, now, true).find("--nesterov true differs from the run's false"), std::string::npos);
  now = before;
  now.optimizer = "rmsprop";
  EXPECT_NE(resume_conflict(before, resolve(now), true).find("--optimizer \"rmsprop\""), std::string::npos);
}

TEST(OptimizerConfig, HasTheRuleThatIsAskedFor) {
  const auto rule_of = [](const char* optimizer, bool nesterov = false) {
    RunConfig config;
    config.optimizer = optimizer;
    config.nesterov = nesterov;
    config.initial_accumulator = 0.1;
    return optimizer_config(resolve(config), 10).rule;
  };
  EXPECT_EQ(name(rule_of("sgd", true)), "nesterov");
  for (const char* optimizer : {"sgd", "adam", "adamw", "adagrad", "rmsprop", "lars", "lamb"})
    EXPECT_EQ(name(rule_of(optimizer)), optimizer);
  EXPECT_EQ(std::get<AdagradRule>(rule_of("adagrad")).initial, 0.1);
  EXPECT_EQ(std::get<AdagradRule>(rule_of("adagrad")).epsilon, 1e-10);
  EXPECT_EQ(std::get<RmsPropRule>(rule_of("rmsprop")).alpha, 0.99);
}

TEST(OptimizerConfig, HasTheSchedulesPower) {
  RunConfig config;
  config.schedule = "poly";
  config.power = 2;
  EXPECT_EQ(optimizer_config(resolve(config), 10).schedule.power, 2);
}

TEST(OptimizerConfig, MilestonesAreFractionsOfTheRun) {
  RunConfig config = resolve(RunConfig{});
  config.schedule = "step";
  const OptimizerConfig optimizer = optimizer_config(config, 200);
  EXPECT_EQ(optimizer.schedule.milestones, (std::vector<std::int64_t>{100, 150}));
  EXPECT_EQ(optimizer.schedule.total_steps, 200);
}

}  // namespace
}  // namespace minim::command

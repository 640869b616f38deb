#include <gtest/gtest.h>

#include <algorithm>

#include "minim/model/zoo.h"
#include "model/bound_plan.h"

namespace minim::test {
namespace {

struct Setting {
  std::string model;
  ImageTask task;
  Graph::Mode mode;
  Precision precision;
};

std::ostream& operator<<(std::ostream& out, const Setting& s) {
  return out << s.model << (s.mode == Graph::Mode::training ? " training " : " evaluation ") << name(s.precision);
}

std::vector<Setting> settings() {
  std::vector<Setting> all;
  for (const auto mode : {Graph::Mode::training, Graph::Mode::evaluation}) {
    for (const auto precision : {Precision::fp32, Precision::mixed, Precision::bf16}) {
      all.push_back({"lenet", {}, mode, precision});
      all.push_back({"resnet-18", {.height = 9, .width = 8, .channels = 3, .classes = 7}, mode, precision});
    }
  }
  return all;
}

void expect_account_equals_plan(Backend& backend, const Setting& setting) {
  Model model;
  Graph graph(model, setting.mode);
  build_classifier(graph, setting.model, setting.task, {.width = 4});
  const ParameterMemory memory(model, backend, setting.precision);
  const MemoryAccount& account = *backend.memory();
  const std::int64_t before = account.in_use_bytes();
  {
    BoundPlan bound(graph, backend, memory, {.precision = setting.precision, .batch = 3});
    const PlanMemory& plan = bound->memory();
    EXPECT_EQ(account.in_use_bytes(MemoryKind::activations), plan.activations_bytes) << setting;
    EXPECT_EQ(account.in_use_bytes(MemoryKind::workspace), plan.workspace_bytes) << setting;
    EXPECT_EQ(account.in_use_bytes(MemoryKind::input), plan.input_bytes) << setting;
    EXPECT_EQ(account.in_use_bytes() - before, plan.activations_bytes + plan.workspace_bytes + plan.input_bytes) << setting;
  }
  EXPECT_EQ(account.in_use_bytes(), before) << setting;
}

TEST(PlanMemory, EqualsWhatTheAllocatorHandsOut) {
  const auto cpu = make_cpu_backend(1), reference = make_reference_backend();
  for (const Setting& setting : settings()) {
    expect_account_equals_plan(*cpu, setting);
    expect_account_equals_plan(*reference, setting);
  }
}

PlanMemory compile_resnet(Precision precision, bool reuse_memory = true) {
  const auto backend = make_reference_backend();
  Model model;
  Graph graph(model, Graph::Mode::training);
  build_classifier(graph, "resnet-18", {.height = 32, .width = 32, .channels = 3, .classes = 10});
  return Plan::compile(graph, *backend, {.precision = precision, .batch = 8, .reuse_memory = reuse_memory})->memory();
}

TEST(PlanMemory, OfMixedActivationsIsHalfOfFp32) {
  // All of a convolutional network's activations are FP16 in mixed precision but for the statistics of normalisation and the
  // loss.
  constexpr double kStatistics = 0.01;
  const double ratio = static_cast<double>(compile_resnet(Precision::mixed).activations_bytes) /
                       static_cast<double>(compile_resnet(Precision::fp32).activations_bytes);
  EXPECT_NEAR(ratio, 0.5, kStatistics);
}

TEST(PlanMemory, IsReused) {
  // Training must keep what backward reads: here the inputs of 20 convolutions (the outputs of their ReLUs) and of 20
  // normalisations, of 100 tensors in all; all gradients go where something else was before.
  const std::int64_t reused = compile_resnet(Precision::fp32).activations_bytes;
  EXPECT_LT(reused, compile_resnet(Precision::fp32, false).activations_bytes / 2);
}

TEST(PlanMemory, OfEvaluationIsThatOfItsLargestStep) {
  // With nothing to keep, the most is needed in a block of the first stage: its input, which the shortcut holds on to, and a
  // convolution's input and output; everything else is done in place.
  const auto backend = make_reference_backend();
  Model model;
  Graph graph(model, Graph::Mode::evaluation);
  build_classifier(graph, "resnet-18", {.height = 32, .width = 32, .channels = 3, .classes = 10});
  const std::int64_t activation_bytes = std::int64_t{8} * 32 * 32 * 64 * 2;
  const auto plan = Plan::compile(graph, *backend, {.precision = Precision::mixed, .batch = 8});
  EXPECT_EQ(plan->memory().activations_bytes, 3 * activation_bytes);
}

TEST(PlanMemory, IsKnownWithoutAllocatingAny) {
  const auto backend = make_reference_backend();
  Model model;
  Graph graph(model, Graph::Mode::training);
  build_classifier(graph, "lenet", {});
  EXPECT_GT(Plan::compile(graph, *backend, {.batch = 4})->memory().activations_bytes, 0);
  EXPECT_EQ(backend->memory()->peak_bytes(), 0);
}

}  // namespace
}  // namespace minim::test

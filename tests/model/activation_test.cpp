#include <gtest/gtest.h>

#include <algorithm>

#include "model/operation_cases.h"

namespace minim::test {
namespace {

/// One computation with the activation inside an operation, and with operations of its own.
struct ActivationCase {
  OperationCase inside;
  std::function<Value(Graph&, const std::vector<Value>&)> apart;
  bool rounds_between = false;  ///< where it is apart another result is stored, so that only FP32 has the same bits
};

using Values = std::vector<Value>;

std::vector<ActivationCase> cases() {
  constexpr std::int64_t kN = Shape::kBatch;
  const Shape image{kN, 4, 5, 3};
  const auto relu = [](Graph& g, Value v) { return g.relu("relu", v); };
  const BatchNormOptions norm{.activation = Activation::relu};
  return {
      {{"conv2d",
        {image},
        3,
        [](Graph& g, const Values& v) {
          return g.conv2d("op", v[0], 5, {.kernel_h = 3, .kernel_w = 2, .bias = true, .activation = Activation::relu});
        }},
       [=](Graph& g, const Values& v) { return relu(g, g.conv2d("op", v[0], 5, {.kernel_h = 3, .kernel_w = 2, .bias = true})); }},
      {{"linear",
        {Shape{kN, 7}},
        5,
        [](Graph& g, const Values& v) { return g.linear("op", v[0], 6, {.activation = Activation::relu}); }},
       [=](Graph& g, const Values& v) { return relu(g, g.linear("op", v[0], 6)); }},
      {{"batch_norm", {image}, 3, [=](Graph& g, const Values& v) { return g.batch_norm("op", v[0], norm); }},
       [=](Graph& g, const Values& v) { return relu(g, g.batch_norm("op", v[0])); }},
      {{"batch_norm_with_addend",
        {image, image},
        3,
        [=](Graph& g, const Values& v) { return g.batch_norm("op", v[0], norm, v[1]); }},
       [=](Graph& g, const Values& v) {
         return relu(g, g.sum("sum", {g.batch_norm("op", v[0]), v[1]}));
       },
       true},
      {{"batch_norm_that_two_read",
        {image},
        3,
        [=](Graph& g, const Values& v) {
          const Value y = g.batch_norm("op", v[0], norm, v[0]);
          return g.batch_norm("end", y, {}, y);
        }},
       [=](Graph& g, const Values& v) {
         const Value y = relu(g, g.sum("sum", {g.batch_norm("op", v[0]), v[0]}));
         return g.batch_norm("end", y, {}, y);
       },
       true},
      {{"batch_norm_with_its_own_input",
        {image},
        3,
        [=](Graph& g, const Values& v) { return g.batch_norm("op", v[0], norm, v[0]); }},
       [=](Graph& g, const Values& v) {
         return relu(g, g.sum("sum", {g.batch_norm("op", v[0]), v[0]}));
       },
       true},
  };
}

class ActivationInside : public testing::TestWithParam<ActivationCase> {};

/// With `rounds_between` FP32 alone is compared: the CPU's sums of a normalised value and an addend are the same two operations.
TEST_P(ActivationInside, HasTheBitsOfOperationsOfTheirOwn) {
  const auto cpu = make_cpu_backend(1);
  add_test_kernels(*cpu);
  OperationCase separate = GetParam().inside;
  separate.build = GetParam().apart;
  for (const Precision precision : {Precision::fp32, Precision::mixed, Precision::bf16}) {
    if (GetParam().rounds_between && precision != Precision::fp32) continue;
    RunningCase inside(GetParam().inside, *cpu, precision), apart(separate, *cpu, precision);
    inside.step();
    apart.step();
    EXPECT_EQ(inside.y(), apart.y()) << name(precision);
    ASSERT_EQ(inside.model().parameters().size(), apart.model().parameters().size());
    for (std::size_t i = 0; i < apart.model().parameters().size(); ++i) {
      const Parameter& wanted = *apart.model().parameters()[i];
      EXPECT_EQ(floats(inside.model().parameters()[i]->gradient), floats(wanted.gradient))
          << name(precision) << " gradient of " << wanted.name;
    }
    const std::vector<float> y = inside.y();
    EXPECT_TRUE(std::ranges::any_of(y, [](float v) { return v <= 0; }) && std::ranges::any_of(y, [](float v) { return v > 0; }))
        << "one side of the ReLU alone";
  }
}

INSTANTIATE_TEST_SUITE_P(Of, ActivationInside, testing::ValuesIn(cases()),
                         [](const auto& instance) { return instance.param.inside.name; });

TEST(ActivationInside, OfABatchNormWantsAnAddendOfItsShape) {
  Model model;
  Graph graph(model, Graph::Mode::training);
  const Value x = graph.input("x", ElementType::activation, Shape{Shape::kBatch, 4, 4, 3});
  const Value other = graph.input("y", ElementType::activation, Shape{Shape::kBatch, 4, 4, 1});
  try {
    graph.batch_norm("bn", x, {}, other);
    ADD_FAILURE() << "no exception";
  } catch (const InvalidArgument& error) {
    EXPECT_STREQ(error.what(),
                 "batch_norm \"bn\": the addend has shape [N, 4, 4, 1], wanted [N, 4, 4, 3] and the type of the input");
  }
  EXPECT_TRUE(model.parameters().empty());
}

}  // namespace
}  // namespace minim::test

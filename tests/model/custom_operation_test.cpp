#include <gtest/gtest.h>

#include "minim/runtime/error.h"
#include "model/bound_plan.h"
#include "model/test_operations.h"

namespace minim::test {
namespace {

/// y = x^2 by a kernel that wants scratch.
struct SquareForward {
  ConstTensorView x;
  TensorView y;
  TensorView workspace;
};

void run(const SquareForward& args) {
  const auto x = args.x.span<float>();
  for (std::size_t i = 0; i < x.size(); ++i) {
    args.workspace.reshaped(Shape{args.workspace.elements()}).data<std::uint8_t>()[i] = 1;
    args.y.span<float>()[i] = x[i] * x[i];
  }
}

/// dx = 2 x dy.
struct SquareBackward {
  ConstTensorView x;
  ConstTensorView dy;
  TensorView dx;
};

void run(const SquareBackward& args) {
  for (std::size_t i = 0; i < args.x.span<float>().size(); ++i) {
    args.dx.span<float>()[i] = 2 * args.x.span<float>()[i] * args.dy.span<float>()[i];
  }
}

class Square : public Operation {
 public:
  std::string_view type() const override { return "square"; }
  std::vector<ValueSpec> infer(std::span<const ValueSpec> inputs) const override { return {inputs[0]}; }
  void forward(PlanContext& context) const override {
    context.emit(SquareForward{.x = context.input(0), .y = context.output(0), .workspace = {}});
  }
  void backward(PlanContext& context) const override {
    context.emit(SquareBackward{.x = context.input(0), .dy = context.output_gradient(0), .dx = context.input_gradient(0)}, 7);
  }
};

template <class Args>
void add(Backend& backend, std::function<std::int64_t(const Args&)> workspace_bytes = nullptr) {
  backend.add_kernel<Args>(host_kernel<Args>([](const Args& args) { run(args); }, std::move(workspace_bytes)), "mine");
}

struct CustomOperation : testing::Test {
  CustomOperation() {
    add_test_kernels(backend);
    add<SquareForward>(backend, [](const SquareForward& args) { return args.x.elements(); });
    add<SquareBackward>(backend);
  }

  template <class Op>
  std::unique_ptr<Plan> compile() {
    const Value x = source(graph, "x", Shape{3}, 1);
    probe(graph, "loss", graph.add("op", std::make_unique<Op>(), {x}).front());
    return Plan::compile(graph, backend, {.precision = Precision::fp32});
  }
  template <class Op>
  std::string refusal() {
    try {
      const auto plan = compile<Op>();
      const ParameterMemory memory(model, backend, Precision::fp32);
      plan->bind(memory.loss_scale());
    } catch (const InvalidArgument& error) {
      return error.what();
    }
    return "nothing was thrown";
  }

  PoisonedBackend backend;
  Model model;
  Graph graph{model, Graph::Mode::training};
};

TEST_F(CustomOperation, WithKernelsOfItsOwnTrainsLikeAnyOther) {
  const auto plan = compile<Square>();
  const ParameterMemory memory(model, backend, Precision::fp32);
  BoundPlan bound(graph, backend, memory, {.precision = Precision::fp32});
  assign(model.parameters()[0]->weight, std::vector<float>{1, -2, 3});
  bound.set("loss.c", std::vector<float>{1, 10, 100});
  bound.step();
  EXPECT_EQ(floats(model.parameters()[0]->gradient), (std::vector<float>{2, -40, 600}));
  EXPECT_EQ(bound.get("loss")[0], 1 + 40 + 900);
  EXPECT_EQ(bound->memory().workspace_bytes, kAlignmentBytes);
}

TEST_F(CustomOperation, MayWantAWorkspaceThatOnlyADeviceKnows) {
  backend.add_kernel<SquareBackward>(
      {.prepare = nullptr, .workspace_bytes = [](const SquareBackward&) { return WorkspaceSize(200, /*known=*/false); }}, "mine");
  const auto plan = compile<Square>();
  const OperationCost& forward = plan->costs()[1];
  const OperationCost& backward = plan->costs()[plan->costs().size() - 2];
  EXPECT_EQ(forward.name, "op");
  EXPECT_EQ(forward.workspace.size_bytes, kAlignmentBytes);
  EXPECT_TRUE(forward.workspace.is_known);
  EXPECT_EQ(backward.workspace.size_bytes, 4 * kAlignmentBytes);
  EXPECT_FALSE(backward.workspace.is_known);
  EXPECT_EQ(plan->memory().workspace_bytes, 4 * kAlignmentBytes);
  EXPECT_EQ(plan->memory().unknown_workspace_bytes, 3 * kAlignmentBytes);
}

TEST_F(CustomOperation, IsListedWithItsKernelAndSet) {
  const auto plan = compile<Square>();
  const OperationCost& cost = plan->costs()[plan->costs().size() - 2];
  EXPECT_EQ(cost.name, "op");
  EXPECT_EQ(cost.type, "square");
  EXPECT_NE(cost.kernel.find("SquareBackward"), std::string::npos);
  EXPECT_EQ(cost.kernel_set, "mine");
  EXPECT_EQ(cost.flops, 7);
  EXPECT_EQ(cost.bytes, 3 * 3 * 4);
}

struct Forgetful : Square {
  void backward(PlanContext& context) const override { context.input_gradient(0); }
};
TEST_F(CustomOperation, ThatAsksForAGradientAndDoesNotWriteItIsRefused) {
  const std::string text = refusal<Forgetful>();
  EXPECT_NE(text.find("reads a tensor of square \"op\" that no kernel before it writes"), std::string::npos) << text;
}

struct Premature : Square {
  void forward(PlanContext& context) const override { context.input_gradient(0); }
};
TEST_F(CustomOperation, ThatAsksForAGradientInForwardIsRefused) {
  EXPECT_EQ(refusal<Premature>(), "square \"op\": asks for the gradient of an input in forward, which has none");
}

struct Greedy : Square {
  void forward(PlanContext& context) const override { context.input(1); }
};
TEST_F(CustomOperation, ThatAsksForAnInputThatItDoesNotHaveIsRefused) {
  EXPECT_EQ(refusal<Greedy>(), "square \"op\": asks for input 1, has 1");
}

struct Fickle : Square {
  void forward(PlanContext& context) const override {
    Square::forward(context);
    if (calls++ > 0) Square::forward(context);
  }
  mutable int calls = 0;
};
TEST_F(CustomOperation, ThatDoesNotRepeatItselfIsRefused) {
  EXPECT_EQ(refusal<Fickle>(),
            "an operation asks for other tensors or kernels than when it was compiled; operations must repeat themselves");
}

struct Random : Square {
  void forward(PlanContext& context) const override { context.random_key(); }
};
TEST_F(CustomOperation, ThatDrawsRandomNumbersMustSaySo) {
  EXPECT_EQ(refusal<Random>(), "square \"op\": asks for random numbers, but its is_random() is false");
}

/// A kernel that writes the gradient of a parameter, but cannot add to it.
struct Overwrite {
  ConstTensorView x;
  TensorView y;
};
void run(const Overwrite&) {}

struct Overwriting : Square {
  std::vector<ValueSpec> infer(std::span<const ValueSpec>) const override { return {{Shape{2}}}; }
  void forward(PlanContext& context) const override { context.emit(Overwrite{.x = context.weight(0), .y = context.output(0)}); }
  void backward(PlanContext& context) const override {
    context.emit(Overwrite{.x = context.output_gradient(0), .y = context.weight_gradient(0)});
  }
};
TEST_F(CustomOperation, WhoseWeightGradientCannotAccumulateIsRefused) {
  add<Overwrite>(backend);
  Parameter p;
  p.name = "w";
  p.shape = Shape{2};
  probe(graph, "loss", graph.add("op", std::make_unique<Overwriting>(), {}, {&model.parameter(p)}).front());
  EXPECT_THROW(Plan::compile(graph, backend, {.precision = Precision::fp32}), InvalidArgument);
}

}  // namespace
}  // namespace minim::test

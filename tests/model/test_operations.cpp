#include "model/test_operations.h"

#include "model/bound_plan.h"

namespace minim::test {

namespace {

class Source final : public Operation {
 public:
  explicit Source(Shape shape) : shape_(shape) {}
  std::string_view type() const override { return "source"; }
  std::vector<ValueSpec> infer(std::span<const ValueSpec>) const override { return {{shape_, ElementType::activation}}; }
  void forward(PlanContext& context) const override { context.emit(AddInto{.x = context.weight(0), .y = context.output(0)}); }
  void backward(PlanContext& context) const override {
    if (const TensorView dw = context.weight_gradient(0); dw.present()) {
      context.emit(AddInto{.x = context.output_gradient(0), .y = dw});
    }
  }

 private:
  Shape shape_;
};

class Probe final : public Operation {
 public:
  std::string_view type() const override { return "probe"; }
  std::vector<ValueSpec> infer(std::span<const ValueSpec>) const override { return {{Shape{1}, ElementType::fp32}}; }
  void forward(PlanContext& context) const override {
    context.emit(ProbeForward{.y = context.input(0), .c = context.input(1), .loss = context.output(0)});
  }
  void backward(PlanContext& context) const override {
    context.emit(ProbeBackward{.c = context.input(1),
                               .loss_scale = context.loss_scale(),
                               .dy = context.input_gradient(0),
                               .nominal_weight = context.nominal_weight()});
  }
  bool is_loss() const override { return true; }
};

void run(const AddInto& args) {
  std::vector<float> sum = floats(args.x);
  if (args.accumulate) {
    const std::vector<float> old = floats(args.y);
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += old[i];
  }
  assign(args.y, sum);
}

void run(const ProbeForward& args) {
  const std::vector<float> y = floats(args.y), c = floats(args.c);
  double loss = args.accumulate ? floats(args.loss)[0] : 0;
  for (std::size_t i = 0; i < y.size(); ++i) loss += static_cast<double>(c[i]) * y[i];
  assign(args.loss, std::vector{static_cast<float>(loss)});
}

void run(const ProbeBackward& args) {
  std::vector<float> dy = floats(args.c);
  const double factor = floats(args.loss_scale)[0] / args.nominal_weight;
  for (float& d : dy) d = static_cast<float>(d * factor);
  assign(args.dy, dy);
}

template <class Args>
void add(Backend& backend) {
  backend.add_kernel<Args>(host_kernel<Args>([](const Args& args) { run(args); }), "test");
}

}  // namespace

void add_test_kernels(Backend& backend) {
  add<AddInto>(backend);
  add<ProbeForward>(backend);
  add<ProbeBackward>(backend);
}

Value source(Graph& graph, const std::string& name, Shape shape, std::int64_t batch) {
  Parameter parameter;
  parameter.name = name;
  parameter.shape = shape.with_batch(batch);
  parameter.initializer = Initializer::uniform(1);
  return graph.add(name, std::make_unique<Source>(shape), {}, {&graph.model().parameter(parameter)}).front();
}

void probe(Graph& graph, const std::string& name, Value y) {
  const Value c = graph.input(name + ".c", ElementType::activation, graph.spec(y).shape);
  graph.output(name, graph.add(name, std::make_unique<Probe>(), {y, c}).front());
}

}  // namespace minim::test

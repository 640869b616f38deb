#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "minim/model/operations.h"
#include "minim/runtime/error.h"
#include "operations/expect.h"

namespace minim {

namespace {

bool equal_but_last(const Shape& a, const Shape& b) {
  return a.rank() == b.rank() && std::ranges::equal(a.dims().first(a.dims().size() - 1), b.dims().first(b.dims().size() - 1));
}

class Concat final : public Operation {
 public:
  std::string_view type() const override { return "concat"; }

  std::vector<ValueSpec> infer(std::span<const ValueSpec> inputs) const override {
    if (inputs.empty()) throw InvalidArgument("has no inputs, wants at least one");
    const Shape& first = inputs[0].shape;
    if (first.rank() < 2) throw InvalidArgument(fmt::format("input 0 has shape {}, wanted [N, ..., C]", first.to_string()));
    std::int64_t channels = 0;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      operations::expect_floating(inputs[i]);
      if (!equal_but_last(inputs[i].shape, first) || inputs[i].element != inputs[0].element) {
        throw InvalidArgument(fmt::format("input {} has shape {}, input 0 has {}; wanted equal ones but for the last dimension",
                                          i, inputs[i].shape.to_string(), first.to_string()));
      }
      channels += inputs[i].shape[-1];
    }
    std::array<std::int64_t, Shape::kMaxRank> dims{};
    const auto end = std::ranges::copy(first.dims(), dims.begin()).out;
    *(end - 1) = channels;
    return {{Shape(std::span<const std::int64_t>(dims.begin(), end)), inputs[0].element}};
  }

  void forward(PlanContext& context) const override {
    std::vector<ConstTensorView> inputs;
    for (int i = 0; i < context.inputs(); ++i) inputs.push_back(context.input(i));
    context.emit(ConcatForward{.inputs = std::move(inputs), .y = context.output(0)});
  }

  void backward(PlanContext& context) const override {
    std::vector<TensorView> outputs;
    std::vector<std::int64_t> channels;
    for (int i = 0; i < context.inputs(); ++i) {
      outputs.push_back(context.input_gradient(i));
      channels.push_back(context.input(i).shape()[-1]);
    }
    context.emit(
        ConcatBackward{.dy = context.output_gradient(0), .outputs = std::move(outputs), .channels = std::move(channels)});
  }
};

}  // namespace

std::unique_ptr<Operation> make_concat() { return std::make_unique<Concat>(); }

}  // namespace minim

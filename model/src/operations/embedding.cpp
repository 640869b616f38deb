#include "minim/runtime/kernels/embedding.h"

#include <fmt/format.h>

#include "minim/model/operations.h"
#include "minim/runtime/error.h"
#include "operations/expect.h"

namespace minim {

namespace {

class Embedding final : public Operation {
 public:
  explicit Embedding(Shape weight) : weight_(weight) {}

  std::string_view type() const override { return "embedding"; }

  std::vector<ValueSpec> infer(std::span<const ValueSpec> inputs) const override {
    operations::expect_inputs(inputs, 1);
    const Shape& indices = inputs[0].shape;
    operations::expect_integers(inputs[0]);
    if (indices.rank() != 1 && indices.rank() != 2) {
      throw InvalidArgument(fmt::format("input has shape {}, wanted [N] or [N, T]", indices.to_string()));
    }
    operations::expect_weight(weight_, weight_.rank() == 2 && weight_[0] >= 1 && weight_[1] >= 1, "[rows, features]");
    if (indices.rank() == 1) return {{Shape{indices[0], weight_[1]}, ElementType::activation}};
    return {{Shape{indices[0], indices[1], weight_[1]}, ElementType::activation}};
  }

  void forward(PlanContext& context) const override {
    context.emit(EmbeddingForward{
        .w = context.weight(0), .indices = context.input(0), .valid_samples = context.valid_samples(0), .y = context.output(0)});
  }

  /// An addition for each element of dy.
  void backward(PlanContext& context) const override {
    const ConstTensorView dy = context.output_gradient(0);
    context.emit(EmbeddingBackward{.dy = dy,
                                   .indices = context.input(0),
                                   .valid_samples = context.valid_samples(0),
                                   .dw = context.weight_gradient(0),
                                   .workspace = {}},
                 static_cast<double>(dy.elements()));
  }

 private:
  Shape weight_;
};

}  // namespace

std::unique_ptr<Operation> make_embedding(Shape weight) { return std::make_unique<Embedding>(weight); }

}  // namespace minim

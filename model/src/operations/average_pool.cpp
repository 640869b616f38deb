#include "minim/model/operations.h"
#include "operations/pool_shape.h"

namespace minim {

namespace {

class AveragePool final : public Operation {
 public:
  AveragePool(PoolGeometry geometry, bool count_padding) : geometry_(geometry), count_padding_(count_padding) {}

  std::string_view type() const override { return "average_pool"; }

  std::vector<ValueSpec> infer(std::span<const ValueSpec> inputs) const override {
    return {operations::pooled(inputs, geometry_)};
  }

  void forward(PlanContext& context) const override {
    const TensorView y = context.output(0);
    context.emit(AveragePoolForward{.x = context.input(0), .y = y, .geometry = geometry_, .count_padding = count_padding_},
                 operations::window_flops(y, geometry_));
  }

  void backward(PlanContext& context) const override {
    const ConstTensorView dy = context.output_gradient(0);
    context.emit(
        AveragePoolBackward{.dy = dy, .dx = context.input_gradient(0), .geometry = geometry_, .count_padding = count_padding_},
        operations::window_flops(dy, geometry_));
  }

 private:
  PoolGeometry geometry_;
  bool count_padding_;
};

}  // namespace

std::unique_ptr<Operation> make_average_pool(PoolGeometry geometry, bool count_padding) {
  return std::make_unique<AveragePool>(geometry, count_padding);
}

}  // namespace minim

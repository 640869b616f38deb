#include <fmt/format.h>

#include "minim/model/operations.h"
#include "minim/runtime/error.h"
#include "operations/pool_shape.h"

namespace minim {

namespace {

constexpr int kArgmax = 0;
constexpr std::int64_t kMaxWindow = 255;  // positions that a byte can name

class MaxPool final : public Operation {
 public:
  explicit MaxPool(PoolGeometry geometry) : geometry_(geometry) {}

  std::string_view type() const override { return "max_pool"; }

  std::vector<ValueSpec> infer(std::span<const ValueSpec> inputs) const override {
    const ValueSpec output = operations::pooled(inputs, geometry_);
    if (geometry_.window_h * geometry_.window_w > kMaxWindow) {
      throw InvalidArgument(
          fmt::format("window {} x {} has more than {} elements", geometry_.window_h, geometry_.window_w, kMaxWindow));
    }
    return {output};
  }

  void forward(PlanContext& context) const override {
    const TensorView y = context.output(0);
    context.emit(MaxPoolForward{.x = context.input(0),
                                .y = y,
                                .argmax = context.training() ? context.saved(kArgmax, DType::uint8, y.shape()) : TensorView{},
                                .geometry = geometry_},
                 operations::window_flops(y, geometry_));
  }

  void backward(PlanContext& context) const override {
    const ConstTensorView dy = context.output_gradient(0);
    context.emit(MaxPoolBackward{.dy = dy,
                                 .argmax = context.saved(kArgmax, DType::uint8, dy.shape()),
                                 .dx = context.input_gradient(0),
                                 .geometry = geometry_},
                 static_cast<double>(dy.elements()));
  }

 private:
  PoolGeometry geometry_;
};

}  // namespace

std::unique_ptr<Operation> make_max_pool(PoolGeometry geometry) { return std::make_unique<MaxPool>(geometry); }

}  // namespace minim

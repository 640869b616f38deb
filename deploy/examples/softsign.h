#pragma once

#include <cmath>

#include "minim/model/operation.h"

// An operation that minim does not have, y = x / (1 + |x|): the arguments of its kernels, the kernels for the CPU, and how they
// follow from the operation's place in a graph.

struct SoftsignForward {
  minim::ConstTensorView x;  ///< fp32, fp16 or bf16
  minim::TensorView y;       ///< as x
};

struct SoftsignBackward {
  minim::ConstTensorView x, dy;
  minim::TensorView dx;
};

/// `to[i] = f(i)`, rounded to the tensor's type.
template <class T, class F>
void assign(const minim::TensorView& to, const F& f) {
  const std::span<T> elements = to.span<T>();
  for (std::size_t i = 0; i < elements.size(); ++i) elements[i] = minim::round_to<T>(f(i));
}

inline void run(const SoftsignForward& args) {
  minim::dispatch_floating(args.x.dtype(), [&]<class T>(T) {
    const auto x = [&](std::size_t i) { return minim::to_float(args.x.span<T>()[i]); };
    assign<T>(args.y, [&](std::size_t i) { return x(i) / (1 + std::abs(x(i))); });
  });
}

inline void run(const SoftsignBackward& args) {
  minim::dispatch_floating(args.x.dtype(), [&]<class T>(T) {
    const auto x = [&](std::size_t i) { return minim::to_float(args.x.span<T>()[i]); };
    const auto dy = [&](std::size_t i) { return minim::to_float(args.dy.span<T>()[i]); };
    assign<T>(args.dx, [&](std::size_t i) { return dy(i) / ((1 + std::abs(x(i))) * (1 + std::abs(x(i)))); });
  });
}

/// Makes the kernels known to a backend.
inline void add_softsign(minim::Backend& backend) {
  const auto run_any = [](const auto& args) { run(args); };
  backend.add_kernel<SoftsignForward>(minim::host_kernel<SoftsignForward>(run_any), "example");
  backend.add_kernel<SoftsignBackward>(minim::host_kernel<SoftsignBackward>(run_any), "example");
}

class Softsign final : public minim::Operation {
 public:
  std::string_view type() const override { return "softsign"; }
  std::vector<minim::ValueSpec> infer(std::span<const minim::ValueSpec> inputs) const override { return {inputs[0]}; }
  void forward(minim::PlanContext& context) const override {
    context.emit(SoftsignForward{.x = context.input(0), .y = context.output(0)});
  }
  void backward(minim::PlanContext& context) const override {
    context.emit(SoftsignBackward{.x = context.input(0), .dy = context.output_gradient(0), .dx = context.input_gradient(0)});
  }
};

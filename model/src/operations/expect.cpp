#include "operations/expect.h"

#include <fmt/format.h>

#include "minim/runtime/error.h"
#include "minim/runtime/kernels/convolution.h"

namespace minim::operations {

namespace {

std::string_view name(ElementType element) {
  switch (element) {
    case ElementType::activation: return "activation";
    case ElementType::fp32: return "fp32";
    case ElementType::int32: return "int32";
    case ElementType::int64: return "int64";
    case ElementType::uint8: return "uint8";
  }
  return "unknown";
}

}  // namespace

void expect_inputs(std::span<const ValueSpec> inputs, std::size_t wanted) {
  if (inputs.size() == wanted) return;
  throw InvalidArgument(fmt::format("has {} inputs, wants {}", inputs.size(), wanted));
}

void expect_activation(const ValueSpec& input) {
  if (input.element == ElementType::activation) return;
  throw InvalidArgument(fmt::format("input has elements of type {}, wanted activation", name(input.element)));
}

void expect_floating(const ValueSpec& input) {
  if (input.element == ElementType::activation || input.element == ElementType::fp32) return;
  throw InvalidArgument(fmt::format("input has elements of type {}, wanted activation or fp32", name(input.element)));
}

void expect_integers(const ValueSpec& input) {
  if (input.element == ElementType::int32 || input.element == ElementType::int64) return;
  throw InvalidArgument(fmt::format("input has elements of type {}, wanted int32 or int64", name(input.element)));
}

void expect_rank(const ValueSpec& input, int rank, std::string_view layout) {
  if (input.shape.rank() == rank) return;
  throw InvalidArgument(fmt::format("input has shape {}, wanted {}", input.shape.to_string(), layout));
}

void expect_weight(const Shape& weight, bool fits, std::string_view wanted) {
  if (fits) return;
  throw InvalidArgument(fmt::format("the weight has shape {}, wanted {}", weight.to_string(), wanted));
}

void expect_channels(std::int64_t found, std::int64_t wanted, std::string_view who_wants) {
  if (found == wanted) return;
  throw InvalidArgument(fmt::format("input has {} channels, the {} wants {}", found, who_wants, wanted));
}

void expect_window(std::string_view side, std::int64_t window, std::int64_t stride, std::int64_t padding, std::int64_t dilation) {
  if (window >= 1 && stride >= 1 && padding >= 0 && dilation >= 1) return;
  throw InvalidArgument(
      fmt::format("{} has window {}, stride {}, padding {} and dilation {}, wanted 1 or more (padding: 0 or more)", side, window,
                  stride, padding, dilation));
}

std::int64_t window_output(const Shape& image, std::string_view side, std::int64_t size, std::int64_t window, std::int64_t stride,
                           std::int64_t padding, std::int64_t dilation) {
  expect_window(side, window, stride, padding, dilation);
  const std::int64_t output = conv_output_size(size, window, stride, padding, dilation);
  if (output >= 1) return output;
  throw InvalidArgument(fmt::format("input {} has {} {} with padding, the window wants {}", image.to_string(), side,
                                    size + padding, dilation * (window - 1) + 1));
}

}  // namespace minim::operations

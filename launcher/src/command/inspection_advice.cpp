#include "command/inspection_advice.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <ranges>

namespace minim::command {
namespace {

/// Calls `visit(tensor)` for every gradient of every inspection until it returns false. Whether it never did.
template <class Visit>
bool all_gradients(std::span<const Inspection> inspections, const Visit& visit) {
  return std::ranges::all_of(inspections, [&](const Inspection& inspection) {
    return std::ranges::all_of(inspection.tensors,
                               [&](const InspectedTensor& tensor) { return !is_gradient(tensor.kind) || visit(tensor); });
  });
}

bool overflows(std::span<const Inspection> inspections, int log2_scale) {
  return !all_gradients(inspections, [=](const InspectedTensor& t) { return t.counts.overflowing(log2_scale) == 0; });
}

bool keeps_enough(const ExponentCounts& counts, int log2_scale) {
  const std::int64_t flushed = counts.flushed(log2_scale);
  return flushed <= 1 || static_cast<double>(flushed) < kFlushedShare * static_cast<double>(counts.non_zero());
}

/// The gradient of which most is lost; null where none is.
const InspectedTensor* worst_flushed(std::span<const Inspection> inspections, int log2_scale) {
  const InspectedTensor* worst = nullptr;
  double most = 0;
  all_gradients(inspections, [&](const InspectedTensor& tensor) {
    const double share = flushed_share(tensor, log2_scale);
    if (share > most) worst = &tensor;
    most = std::max(most, share);
    return true;
  });
  return worst;
}

std::string flushed_part(const InspectedTensor& tensor, int log2_scale) {
  return fmt::format("{} of {} vanish", format_share(tensor.counts.flushed(log2_scale), tensor.counts.non_zero()),
                     describe(tensor));
}

std::string scale(int log2_scale) { return fmt::format("{:.0f}", std::ldexp(1.0, log2_scale)); }

/// What no loss scale helps against, with a semicolon behind it; empty where there is nothing.
std::string beyond_scaling(std::span<const Inspection> inspections) {
  for (const Inspection& inspection : inspections) {
    for (const InspectedTensor& tensor : inspection.tensors) {
      const ExponentCounts& counts = tensor.counts;
      if (counts.infinities() + counts.nans() > 0) {
        return fmt::format("in step {} {} are not finite even in FP32; ", inspection.step, describe(tensor));
      }
      if (!is_gradient(tensor.kind) && counts.overflowing(0) > 0) {
        return fmt::format("in step {} {} of {} overflow FP16, which no loss scale helps; ", inspection.step,
                           format_share(counts.overflowing(0), counts.non_zero()), describe(tensor));
      }
    }
  }
  return {};
}

std::string advise_scale(std::span<const Inspection> inspections) {
  const InspectedTensor* const worst = worst_flushed(inspections, 0);
  const std::optional<int> sufficient = sufficient_scale(inspections);
  const int largest = largest_scale(inspections);
  if (largest < 0) return "some gradients overflow FP16 under every loss scale";
  if (!sufficient) {
    const InspectedTensor* const lost = worst_flushed(inspections, largest);
    return fmt::format("no loss scale suffices: at S = {}, the largest without an overflow, {}", scale(largest),
                       flushed_part(*lost, largest));
  }
  const std::string room = largest == kMostLog2Scale ? "" : fmt::format(", up to {} no inspected step overflows", scale(largest));
  if (*sufficient > 0) {
    return fmt::format("S = {} suffices{}; without scaling {}", scale(*sufficient), room, flushed_part(*worst, 0));
  }
  const std::string loss = worst == nullptr ? "no gradient vanishes" : "at most " + flushed_part(*worst, 0);
  return fmt::format("no loss scaling is needed{}; without it {}", room, loss);
}

}  // namespace

std::string describe(const InspectedTensor& tensor) {
  switch (tensor.kind) {
    case TensorKind::activation: return tensor.name + "'s activations";
    case TensorKind::activation_gradient: return tensor.name + "'s activation gradients";
    case TensorKind::weight: return tensor.name + "'s values";
    case TensorKind::weight_gradient: return tensor.name + "'s gradients";
  }
  return tensor.name;
}

std::string format_share(std::int64_t part, std::int64_t whole) {
  if (part == 0) return "0";
  const double percent = 100 * static_cast<double>(part) / static_cast<double>(whole);
  if (percent < 0.01) return "under 0.01 %";
  return fmt::format("{:.{}f} %", percent, percent < 1 ? 2 : percent < 10 ? 1 : 0);
}

double flushed_share(const InspectedTensor& tensor, int log2_scale) {
  const std::int64_t non_zero = tensor.counts.non_zero();
  const std::int64_t flushed = tensor.counts.flushed(is_gradient(tensor.kind) ? log2_scale : 0);
  return non_zero == 0 ? 0 : static_cast<double>(flushed) / static_cast<double>(non_zero);
}

std::optional<int> sufficient_scale(std::span<const Inspection> inspections) {
  for (int s = 0; s <= kMostLog2Scale; ++s) {
    if (overflows(inspections, s)) return {};  // and so does every larger one
    if (all_gradients(inspections, [=](const InspectedTensor& tensor) { return keeps_enough(tensor.counts, s); })) return s;
  }
  return {};
}

int largest_scale(std::span<const Inspection> inspections) {
  int s = kMostLog2Scale;
  while (s >= 0 && overflows(inspections, s)) --s;
  return s;
}

std::string advise(std::span<const Inspection> inspections) {
  std::string sentence = fmt::format("{}{}.", beyond_scaling(inspections), advise_scale(inspections));
  sentence.front() = static_cast<char>(std::toupper(static_cast<unsigned char>(sentence.front())));
  return sentence;
}

const InspectedTensor* first_overflow(const Inspection& inspection) {
  const InspectedTensor* first = nullptr;
  for (const InspectedTensor& tensor : std::views::reverse(inspection.tensors)) {
    if (first != nullptr && tensor.layer != first->layer) break;
    if (!is_gradient(tensor.kind) || tensor.counts.overflowing(inspection.log2_scale()) == 0) continue;
    first = &tensor;  // of a layer the activation gradient comes last here, and first in backward
  }
  return first;
}

}  // namespace minim::command

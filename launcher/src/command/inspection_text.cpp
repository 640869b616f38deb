#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "command/inspection_advice.h"
#include "command/inspection_report.h"
#include "command/text.h"

namespace minim::command {
namespace {

constexpr const char* kLegend =
    "Shares are of the non-zero values. flushed: becomes zero in FP16; subnormal: keeps fewer than 11 bits; near: less than "
    "twice\n"
    "as large would be infinite; overflow: is. Gradients times S, computed in FP32; update: its norm over the weight's.\n";

std::string share_of(std::int64_t part, const ExponentCounts& counts) {
  if (part == 0) return "";
  const double percent = 100 * static_cast<double>(part) / static_cast<double>(counts.non_zero());
  return percent < 0.01 ? "<0.01 %" : fmt::format("{:.2f} %", percent);
}

std::string zeros_of(const ExponentCounts& counts) {
  const std::int64_t elements = counts.elements();
  return elements == 0 ? "" : fmt::format("{:.1f} %", 100 * static_cast<double>(counts.zeros()) / static_cast<double>(elements));
}

std::string exponents_of(const ExponentCounts& counts) {
  return counts.is_empty() ? "" : fmt::format("{} .. {}", counts.lowest(), counts.highest());
}

void add_row(TextTable& table, const Inspection& inspection, const InspectedTensor& tensor) {
  const ExponentCounts& counts = tensor.counts;
  const int s = is_gradient(tensor.kind) ? inspection.log2_scale() : 0;
  const double ratio = tensor.kind == TensorKind::weight ? update_ratio(inspection, tensor.name) : -1;
  table.add({tensor.name, name(tensor.kind), zeros_of(counts), exponents_of(counts),
             is_gradient(tensor.kind) ? share_of(counts.flushed(0), counts) : "", share_of(counts.flushed(s), counts),
             share_of(counts.subnormal(s), counts), share_of(counts.near_overflow(s), counts),
             share_of(counts.overflowing(s), counts), ratio < 0 ? "" : fmt::format("{:.1e}", ratio)});
}

}  // namespace

double update_ratio(const Inspection& inspection, const std::string& parameter) {
  const auto found = std::ranges::find(inspection.updates, parameter, &WeightUpdate::parameter);
  if (found == inspection.updates.end() || !inspection.applied || !(found->weight_norm > 0)) return -1;
  return found->update_norm / found->weight_norm;
}

std::string describe_skip(const Metrics::Skip& skip, std::span<const Inspection> inspections) {
  std::string text = fmt::format("step {} at S = {:.0f}: {}", skip.step, skip.used_loss_scale, skip.tensor);
  const auto found = std::ranges::find(inspections, skip.step, &Inspection::step);
  if (found == inspections.end()) return text;
  const InspectedTensor* const first = first_overflow(*found);
  return first == nullptr ? text : text + fmt::format("; the first in backward were {}", describe(*first));
}

std::string to_text(const InspectionReport& report) {
  const std::vector<Inspection>& all = report.inspections;
  const Inspection& last = all.back();
  std::string text = advise(all) + "\n\n";
  const std::string steps =
      all.size() == 1 ? "one step" : fmt::format("{} steps from {} to {}", all.size(), all.front().step, last.step);
  text += fmt::format("{}: {} inspected; step {}, {}, {}, S = {:.0f}:\n\n", report.run, steps, last.step, last.precision,
                      last.applied ? "applied" : "skipped", last.loss_scale);
  TextTable table(
      {"tensor", "kind", "zero", "exponents", "flushed, S = 1", "flushed", "subnormal", "near", "overflow", "update"});
  table.align_left(1);
  for (const InspectedTensor& tensor : last.tensors) add_row(table, last, tensor);
  text += table.to_string() + "\n" + kLegend;
  if (!report.skips.empty()) text += "\nSkipped, with the first tensor of the network that was not finite:\n";
  for (const Metrics::Skip& skip : report.skips) text += "  " + describe_skip(skip, all) + "\n";
  return text;
}

std::string to_csv(const InspectionReport& report) {
  std::string text =
      "step,applied,loss_scale,layer,type,tensor,kind,elements,zeros,infinities,nans,lowest_exponent,highest_exponent,flushed,"
      "subnormal,near_overflow,overflowing,update_ratio";
  for (int s = 0; s <= kMostLog2Scale; ++s) text += fmt::format(",flushed_at_2^{}", s);
  for (int s = 0; s <= kMostLog2Scale; ++s) text += fmt::format(",overflowing_at_2^{}", s);
  text += "\n";
  for (const Inspection& inspection : report.inspections) {
    for (const InspectedTensor& tensor : inspection.tensors) {
      const ExponentCounts& counts = tensor.counts;
      const bool scaled = is_gradient(tensor.kind), is_empty = counts.is_empty();
      const int s = scaled ? inspection.log2_scale() : 0;
      const double ratio = tensor.kind == TensorKind::weight ? update_ratio(inspection, tensor.name) : -1;
      text +=
          fmt::format("{},{},{:.0f},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}", inspection.step, inspection.applied ? 1 : 0,
                      inspection.loss_scale, tensor.layer, tensor.type, tensor.name, name(tensor.kind), counts.elements(),
                      counts.zeros(), counts.infinities(), counts.nans(), is_empty ? "" : fmt::format("{}", counts.lowest()),
                      is_empty ? "" : fmt::format("{}", counts.highest()), counts.flushed(s), counts.subnormal(s),
                      counts.near_overflow(s), counts.overflowing(s), ratio < 0 ? "" : fmt::format("{}", ratio));
      for (int k = 0; k <= kMostLog2Scale; ++k) text += fmt::format(",{}", counts.flushed(scaled ? k : 0));
      for (int k = 0; k <= kMostLog2Scale; ++k) text += fmt::format(",{}", counts.overflowing(scaled ? k : 0));
      text += "\n";
    }
  }
  return text;
}

}  // namespace minim::command

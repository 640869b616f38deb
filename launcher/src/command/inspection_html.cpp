#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "command/inspection_advice.h"
#include "command/inspection_report.h"

namespace minim::command {
namespace {

// A plot: a bar for each exponent, its height the share of values on a logarithmic axis, as in the paper's figures 2 and 3.
constexpr int kFirst = -60, kLast = 24;  ///< exponents that have a bar; the outermost stand for all beyond
constexpr int kBar = 5;                  ///< width of a bar
constexpr int kHeight = 96, kDecades = 6;
constexpr int kWidth = (kLast - kFirst + 1) * kBar;

constexpr int x_of(int exponent) { return (exponent - kFirst) * kBar; }

constexpr const char* kHead = R"(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Precision of {title}</title>
<style>
:root {
  color-scheme: light dark;
  --paper: #fff; --ink: #1c2733; --faint: #66737f; --line: #d9dfe4; --bar: #26547c;
  --flushed: #ef476f; --subnormal: #f3a712; --normal: #3a9d6e; --overflow: #a63fc4;
}
@media (prefers-color-scheme: dark) {
  :root { --paper: #14191f; --ink: #e3e8ec; --faint: #93a1ad; --line: #333d47; --bar: #8fc1ea; }
}
body { margin: 0 auto; max-width: 1440px; padding: 0 1.5rem 3rem; background: var(--paper); color: var(--ink);
  font: 15px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.4rem; margin: 1.5rem 0 .2rem; }
h2 { font-size: 1rem; margin: 1.6rem 0 .4rem; border-top: 1px solid var(--line); padding-top: .7rem; }
h2 small, p small, figcaption, .faint { color: var(--faint); font-weight: normal; }
.advice { font-size: 1.2rem; margin: .6rem 0; padding: .7rem 1rem; border-left: 4px solid var(--normal);
  background: color-mix(in srgb, var(--normal) 10%, transparent); }
.bar { position: sticky; top: 0; z-index: 1; background: var(--paper); border-bottom: 1px solid var(--line);
  padding: .6rem 0; display: flex; flex-wrap: wrap; gap: .4rem 1.1rem; align-items: center; font-size: .9rem; }
.bar input[type=range] { width: 15rem; vertical-align: middle; }
.key::before { content: ""; display: inline-block; width: .8em; height: .8em; margin-right: .4em; background: var(--c); opacity: .55; }
.plots { display: flex; flex-wrap: wrap; gap: 1rem 1.2rem; }
figure { margin: 0; width: 330px; }
figcaption { font-size: .82rem; display: flex; justify-content: space-between; gap: 1rem; }
figcaption span { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
figcaption b { color: var(--ink); }
svg { display: block; width: 330px; height: 90px; }
svg path { fill: var(--bar); }
svg text { fill: var(--faint); font: 10px system-ui, sans-serif; }
svg line { stroke: var(--faint); stroke-width: 1; opacity: .35; }
.range rect { opacity: .22; }
.scaled .range { transform: translateX(calc(var(--s) * -5px)); }
table.map { border-collapse: collapse; font-size: .75rem; }
.map th { font-weight: normal; color: var(--faint); padding: 0 .15rem; text-align: center; min-width: 1.35rem; }
.map th:first-child { text-align: left; padding-right: .8rem; white-space: nowrap; }
.map td { height: .95rem; border: 1px solid var(--paper); background: color-mix(in srgb, var(--c) var(--a), var(--paper)); }
.map .now { font-weight: bold; color: var(--ink); }
.scroll { overflow-x: auto; }
</style>
</head>
)";

/// Moves FP16's range in the plots, and the shares with it.
constexpr const char* kScript = R"(<script>
const slider = document.getElementById("scale");
function show() {
  const s = +slider.value;
  document.body.style.setProperty("--s", s);
  document.getElementById("shown").textContent = 2 ** s;
  for (const e of document.querySelectorAll("[data-lost]")) {
    e.textContent = e.dataset.lost.split("|")[s];
  }
  document.querySelectorAll(".map thead th").forEach((e, i) => e.classList.toggle("now", i === s + 1));
}
slider.addEventListener("input", show);
for (const box of document.querySelectorAll("[data-kind]")) {
  box.addEventListener("change", () => {
    for (const f of document.querySelectorAll("figure." + box.dataset.kind)) f.hidden = !box.checked;
  });
}
show();
</script>
)";

std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&': result += "&amp;"; break;
      case '<': result += "&lt;"; break;
      case '>': result += "&gt;"; break;
      case '"': result += "&quot;"; break;
      default: result += c;
    }
  }
  return result;
}

std::string class_of(TensorKind kind) {
  std::string text = name(kind);
  std::ranges::replace(text, ' ', '-');
  return text;
}

/// "0.4 % flushed, 2 % subnormal": nothing where FP16 takes all values as they are.
std::string losses(const ExponentCounts& counts, int log2_scale) {
  std::string text;
  const auto say = [&](std::int64_t part, const char* what) {
    if (part > 0) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", format_share(part, counts.non_zero()), what);
  };
  say(counts.flushed(log2_scale), "flushed");
  say(counts.subnormal(log2_scale), "subnormal");
  say(counts.near_overflow(log2_scale), "near overflow");
  say(counts.overflowing(log2_scale), "overflow");
  return text.empty() ? "all normal" : text;
}

/// Separated by bars, from 1 to the largest scale.
std::string losses_at_all_scales(const InspectedTensor& tensor) {
  std::string text;
  for (int s = 0; s <= kMostLog2Scale; ++s) {
    if (s > 0) text += '|';
    text += losses(tensor.counts, s);
  }
  return text;
}

/// Counts of the bars; what lies beyond the plot is in the outermost.
std::int64_t bar_count(const ExponentCounts& counts, int exponent) {
  std::int64_t count = 0;
  const int first = exponent == kFirst ? ExponentCounts::kLowest : exponent;
  const int last = exponent == kLast ? ExponentCounts::kHighest : exponent;
  for (int e = first; e <= last; ++e) count += counts.at(e);
  return count;
}

std::string bars(const ExponentCounts& counts) {
  std::string path;
  const auto non_zero = static_cast<double>(counts.non_zero());
  for (int e = kFirst; e <= kLast; ++e) {
    const std::int64_t count = bar_count(counts, e);
    if (count == 0) continue;
    const double decades = std::max(0.0, kDecades + std::log10(static_cast<double>(count) / non_zero));
    const int height = std::max(1, static_cast<int>(std::lround(decades * kHeight / kDecades)));
    path += fmt::format("M{} {}h{}V{}h-{}z", x_of(e), kHeight - height, kBar - 1, kHeight, kBar - 1);
  }
  return path;
}

/// What FP16 does to exponents, where the scale is 1. Wider than the plot, so that it can be moved.
std::string ranges() {
  const auto rect = [](int from, int to, const char* what) {
    return fmt::format("<rect x=\"{}\" y=\"0\" width=\"{}\" height=\"{}\" fill=\"var(--{})\"/>", x_of(from), (to - from) * kBar,
                       kHeight, what);
  };
  return fmt::format("<g class=\"range\">{}{}{}{}</g>", rect(-200, -25, "flushed"), rect(-25, -14, "subnormal"),
                     rect(-14, 16, "normal"), rect(16, 200, "overflow"));
}

/// Lines at shares of 1 % and 0.01 %, and exponents below.
std::string axis() {
  std::string text = fmt::format("<line x1=\"0\" y1=\"{0}\" x2=\"{1}\" y2=\"{0}\"/>", kHeight, kWidth);
  for (const int decades : {2, 4}) {
    const int y = decades * kHeight / kDecades;
    text += fmt::format("<line x1=\"0\" y1=\"{0}\" x2=\"{1}\" y2=\"{0}\"/><text x=\"2\" y=\"{2}\">{3} %</text>", y, kWidth, y - 2,
                        decades == 2 ? "1" : "0.01");
  }
  for (int e = -56; e < kLast; e += 8) {
    text += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>", x_of(e) + kBar / 2, kHeight + 12, e);
  }
  return text;
}

std::string figure(const Inspection& inspection, const InspectedTensor& tensor) {
  const ExponentCounts& counts = tensor.counts;
  const bool scaled = is_gradient(tensor.kind);
  const int s = scaled ? std::clamp(inspection.log2_scale(), 0, kMostLog2Scale) : 0;
  const std::string zeros = counts.zeros() == 0 ? "" : fmt::format("{} zero", format_share(counts.zeros(), counts.elements()));
  const double ratio = tensor.kind == TensorKind::weight ? update_ratio(inspection, tensor.name) : -1;
  const std::string update = ratio < 0 ? "" : fmt::format("<span>update / weight {:.1e}</span>", ratio);
  const std::string lost = scaled
                               ? fmt::format("<span data-lost=\"{}\">{}</span>", losses_at_all_scales(tensor), losses(counts, s))
                               : fmt::format("<span>{}</span>", losses(counts, 0));
  return fmt::format(
      "<figure class=\"{}{}\"><figcaption><span><b>{}</b> {}</span><span>{}</span></figcaption>"
      "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"exponents of {}\">{}<path d=\"{}\"/>{}</svg>"
      "<figcaption>{}{}</figcaption></figure>\n",
      class_of(tensor.kind), scaled ? " scaled" : "", escaped(tensor.name), name(tensor.kind), zeros, kWidth, kHeight + 20,
      escaped(describe(tensor)), ranges(), bars(counts), axis(), lost, update);
}

/// How much of a cell is coloured: logarithmic from a share of 10^-5 on.
int percent_of_colour(double share) {
  return share <= 0 ? 0 : static_cast<int>(std::lround(std::clamp(100 * (1 + std::log10(share) / 5), 12.0, 100.0)));
}

/// A row for each gradient, a column for each loss scale.
std::string map_of_scales(const Inspection& inspection) {
  std::string text = "<div class=\"scroll\"><table class=\"map\"><thead><tr><th>log2 S</th>";
  for (int s = 0; s <= kMostLog2Scale; ++s) text += fmt::format("<th>{}</th>", s);
  text += "</tr></thead><tbody>\n";
  for (const InspectedTensor& tensor : inspection.tensors) {
    if (!is_gradient(tensor.kind)) continue;
    text += fmt::format("<tr><th>{}</th>", escaped(describe(tensor)));
    const auto non_zero = static_cast<double>(std::max<std::int64_t>(tensor.counts.non_zero(), 1));
    for (int s = 0; s <= kMostLog2Scale; ++s) {
      const std::int64_t over = tensor.counts.overflowing(s), flushed = tensor.counts.flushed(s);
      const double share = static_cast<double>(over > 0 ? over : flushed) / non_zero;
      const bool is_clean = over == 0 && flushed == 0;
      text += fmt::format("<td style=\"--c:var(--{});--a:{}%\" title=\"S = {:.0f}: {}\"></td>",
                          over > 0   ? "overflow"
                          : is_clean ? "normal"
                                     : "flushed",
                          is_clean ? 25 : percent_of_colour(share), std::ldexp(1.0, s), losses(tensor.counts, s));
    }
    text += "</tr>\n";
  }
  return text + "</tbody></table></div>\n";
}

std::string controls(const Inspection& inspection) {
  const int s = std::clamp(inspection.log2_scale(), 0, kMostLog2Scale);
  std::string text = fmt::format(
      "<div class=\"bar\"><label>loss scale <input id=\"scale\" type=\"range\" min=\"0\" max=\"{}\" value=\"{}\"> "
      "S = <b id=\"shown\">{:.0f}</b></label>",
      kMostLog2Scale, s, inspection.loss_scale);
  for (const TensorKind kind :
       {TensorKind::activation, TensorKind::activation_gradient, TensorKind::weight, TensorKind::weight_gradient}) {
    text += fmt::format("<label><input type=\"checkbox\" data-kind=\"{}\" checked> {}s</label>", class_of(kind), name(kind));
  }
  for (const char* range : {"flushed", "subnormal", "normal", "overflow"}) {
    text += fmt::format("<span class=\"key\" style=\"--c:var(--{0})\">{0}</span>", range);
  }
  return text + "</div>\n";
}

}  // namespace

std::string to_html(const InspectionReport& report) {
  const Inspection& last = report.inspections.back();
  std::string head = kHead;
  head.replace(head.find("{title}"), 7, escaped(report.run));
  std::string text =
      head + fmt::format("<body style=\"--s:{}\">\n<h1>Precision of {}</h1>\n", last.log2_scale(), escaped(report.run));
  text += fmt::format("<p class=\"advice\">{}</p>\n", escaped(advise(report.inspections)));
  text += fmt::format(
      "<p>Step {} in {}, {}, S = {:.0f}; the advice is from {} inspected. <small>Exponents of all values that are not zero, "
      "computed in FP32, gradients without a scale; heights are shares on a logarithmic axis, from one in a million to all. The "
      "coloured ranges are FP16's: values up to 2<sup>-25</sup> / S are flushed to zero, those from 65520 / S on "
      "overflow.</small></p>\n",
      last.step, last.precision, last.applied ? "applied" : "skipped", last.loss_scale,
      report.inspections.size() == 1 ? "the one step" : fmt::format("the {} steps", report.inspections.size()));
  if (!report.skips.empty()) {
    text += "<details><summary>Skipped steps, with the first tensor of the network that was not finite</summary><ul>\n";
    for (const Metrics::Skip& skip : report.skips) {
      text += fmt::format("<li>{}</li>\n", escaped(describe_skip(skip, report.inspections)));
    }
    text += "</ul></details>\n";
  }
  text += controls(last);
  text += "<h2>Gradients under every loss scale <small>what is lost of them, the darker the more</small></h2>\n";
  text += map_of_scales(last);
  std::string layer;
  for (const InspectedTensor& tensor : last.tensors) {
    if (tensor.layer != layer) {
      text += fmt::format("{}<h2>{} <small>{}</small></h2>\n<div class=\"plots\">\n", layer.empty() ? "" : "</div>\n",
                          escaped(tensor.layer), escaped(tensor.type));
      layer = tensor.layer;
    }
    text += figure(last, tensor);
  }
  return text + "</div>\n" + kScript + "</body>\n</html>\n";
}

}  // namespace minim::command

#include "command/inspection.h"

#include <gtest/gtest.h>

#include <fstream>
#include <regex>

#include "command/inspection_advice.h"
#include "command/inspection_report.h"
#include "minim/runtime/error.h"
#include "runtime/exponent_oracle.h"
#include "scratch_directory.h"

namespace minim::command {
namespace {

ExponentCounts counts_of(const std::vector<float>& values) {
  const auto n = static_cast<std::int64_t>(values.size());
  const auto counts = exponent_oracle::count(ConstTensorView(values.data(), DType::fp32, Shape{n}), n);
  return ExponentCounts(std::span(counts).first<ExponentCounts::kBins>());
}

/// `count` values of that size.
std::vector<float> values(std::size_t count, float value) { return std::vector<float>(count, value); }

std::vector<float> operator+(std::vector<float> a, const std::vector<float>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

InspectedTensor tensor(const std::string& layer, TensorKind kind, const std::vector<float>& of) {
  const bool is_weight = kind == TensorKind::weight || kind == TensorKind::weight_gradient;
  return {.layer = layer, .type = "conv2d", .name = is_weight ? layer + ".weight" : layer, .kind = kind, .counts = counts_of(of)};
}

Inspection inspection(std::vector<InspectedTensor> tensors, double loss_scale = 65536) {
  return {.step = 1,
          .applied = true,
          .precision = "mixed",
          .loss_scale = loss_scale,
          .tensors = std::move(tensors),
          .updates = {{.parameter = "conv1.weight", .update_norm = 0.5, .weight_norm = 2}}};
}

std::string advise(std::vector<InspectedTensor> tensors) { return advise(std::vector{inspection(std::move(tensors))}); }

TEST(ExponentCounts, SayWhatHalfMakesOfScaledValuesAtEveryScale) {
  std::vector<float> floats = exponent_oracle::boundaries();
  std::erase_if(floats, [](float x) { return std::isfinite(x) && x != 0 && (std::abs(x) < 0x1p-70F || std::abs(x) > 0x1p40F); });
  const ExponentCounts counts = counts_of(floats);
  EXPECT_EQ(counts.elements(), static_cast<std::int64_t>(floats.size()));
  EXPECT_EQ(counts.zeros(), 3);  // below the smallest number there is one more
  EXPECT_EQ(counts.infinities(), 2);
  EXPECT_EQ(counts.nans(), 3);
  EXPECT_EQ(counts.non_zero(), counts.elements() - 8);
  for (int s = 0; s <= 24; ++s) {
    std::int64_t flushed = 0, overflowing = 0, subnormal = 0, near = 0;
    for (const float x : floats) {
      if (!std::isfinite(x) || x == 0) continue;
      const float scaled = std::ldexp(x, s);
      const float half = std::abs(to_float(to_half(scaled)));
      flushed += half == 0 ? 1 : 0;
      overflowing += std::isinf(half) ? 1 : 0;
      subnormal += half != 0 && std::abs(scaled) < kHalfMinNormal ? 1 : 0;
      near += !std::isinf(half) && std::isinf(std::abs(to_float(to_half(2 * scaled)))) && std::abs(scaled) >= 0x1p15F ? 1 : 0;
    }
    EXPECT_EQ(counts.flushed(s), flushed) << s;
    EXPECT_EQ(counts.overflowing(s), overflowing) << s;
    EXPECT_EQ(counts.subnormal(s), subnormal) << s;
    EXPECT_EQ(counts.near_overflow(s), near) << s;
  }
}

TEST(ExponentCounts, KnowTheRangeOfExponents) {
  const ExponentCounts counts = counts_of({3, -0.25F, 0, INFINITY});
  EXPECT_EQ(counts.lowest(), -2);
  EXPECT_EQ(counts.highest(), 1);
  EXPECT_TRUE(counts_of({0, -0.0F}).is_empty());
  EXPECT_EQ(counts_of({0x1p-140F}).lowest(), ExponentCounts::kLowest);
  EXPECT_EQ(counts_of({0x1p-140F}).flushed(24), 1);
}

TEST(Advice, NamesTheSmallestScaleThatSufficesAndWhatVanishesWithoutOne) {
  // 31 % lie where a scale of 8 just saves them, as in the paper's detector.
  const auto gradients = values(690, 0x1p-10F) + values(310, 0x1.8p-28F);
  EXPECT_EQ(
      advise({tensor("conv3", TensorKind::activation_gradient, gradients),
              tensor("conv1", TensorKind::weight_gradient, values(1000, 0x1p-3F))}),
      "S = 8 suffices, up to 262144 no inspected step overflows; without scaling 31 % of conv3's activation gradients vanish.");
}

TEST(Advice, TakesTheTieForFlushed) {
  const auto at_the_tie = tensor("fc", TensorKind::weight_gradient, values(1000, 0x1p-25F));
  const auto above = tensor("fc", TensorKind::weight_gradient, values(1000, std::nextafter(0x1p-25F, 1.0F)));
  EXPECT_EQ(sufficient_scale(std::vector{inspection({at_the_tie})}), 1);
  EXPECT_EQ(sufficient_scale(std::vector{inspection({above})}), 0);
}

TEST(Advice, ForgivesASingleValueAndOneInAThousandNotMore) {
  const auto with = [](std::size_t lost) {
    return sufficient_scale(
        std::vector{inspection({tensor("fc", TensorKind::weight_gradient, values(10000 - lost, 1) + values(lost, 0x1p-26F))})});
  };
  EXPECT_EQ(with(9), 0);
  EXPECT_EQ(with(10), 2);
  EXPECT_EQ(sufficient_scale(std::vector{inspection({tensor("fc", TensorKind::weight_gradient, {1, 0x1p-26F})})}), 0);
  EXPECT_EQ(sufficient_scale(std::vector{inspection({tensor("fc", TensorKind::weight_gradient, {1, 0x1p-26F, 0x1p-26F})})}), 2);
}

TEST(Advice, SaysWhereNoScalingIsNeeded) {
  EXPECT_EQ(advise({tensor("fc", TensorKind::weight_gradient, {0, 1, -2})}),
            "No loss scaling is needed, up to 16384 no inspected step overflows; without it no gradient vanishes.");
}

TEST(Advice, SaysWhereNoScaleSuffices) {
  const auto wide = values(500, 0x1p10F) + values(500, 0x1p-40F);
  EXPECT_EQ(advise({tensor("fc", TensorKind::weight_gradient, wide)}),
            "No loss scale suffices: at S = 32, the largest without an overflow, 50 % of fc.weight's gradients vanish.");
  EXPECT_EQ(advise({tensor("fc", TensorKind::weight_gradient, {65520})}), "Some gradients overflow FP16 under every loss scale.");
  EXPECT_EQ(advise({tensor("fc", TensorKind::weight_gradient, {65519})}),
            "No loss scaling is needed, up to 1 no inspected step overflows; without it no gradient vanishes.");
}

TEST(Advice, NamesWhatScalingDoesNotHelp) {
  EXPECT_EQ(advise({tensor("conv1", TensorKind::activation, {1, 70000}), tensor("fc", TensorKind::weight_gradient, {1})}),
            "In step 1 50 % of conv1's activations overflow FP16, which no loss scale helps; no loss scaling is needed, up to "
            "32768 no inspected step overflows; without it no gradient vanishes.");
  EXPECT_NE(advise({tensor("fc", TensorKind::weight_gradient, {NAN, 1})}).find("not finite even in FP32"), std::string::npos);
}

TEST(Advice, HoldsForAllInspections) {
  const auto of = [](float value) { return inspection({tensor("fc", TensorKind::weight_gradient, values(1000, value))}); };
  EXPECT_EQ(sufficient_scale(std::vector{of(0x1p-30F), of(1)}), 6);
  EXPECT_EQ(largest_scale(std::vector{of(0x1p-30F), of(1)}), 15);
}

TEST(Advice, TheFirstOverflowIsThatOfTheLastLayer) {
  const auto report =
      inspection({tensor("conv1", TensorKind::activation_gradient, {8}), tensor("fc", TensorKind::activation_gradient, {8}),
                  tensor("fc", TensorKind::weight, {1}), tensor("fc", TensorKind::weight_gradient, {8}),
                  tensor("loss", TensorKind::activation_gradient, {0})});
  ASSERT_NE(first_overflow(report), nullptr);
  EXPECT_EQ(describe(*first_overflow(report)), "fc's activation gradients");
  EXPECT_EQ(first_overflow(inspection({tensor("fc", TensorKind::weight_gradient, {8})}, 1)), nullptr);
}

class InspectionFile : public ::testing::Test {
 protected:
  std::filesystem::path file() const { return scratch_.path() / "inspection.jsonl"; }
  void add(const std::string& text) const { std::ofstream(file(), std::ios::app) << text; }
  testing::ScratchDirectory scratch_;
};

Inspection example() {
  auto floats = exponent_oracle::boundaries();
  return inspection({tensor("conv1", TensorKind::activation, {0, 0}), tensor("conv1", TensorKind::activation_gradient, floats),
                     tensor("conv1", TensorKind::weight, {1, 2, 3}),
                     tensor("conv1", TensorKind::weight_gradient, {0x1p-130F, 1})});
}

TEST_F(InspectionFile, ComesBackAsItWasWritten) {
  Inspection second = example();
  second.step = 101;
  append_inspection(file(), example());
  append_inspection(file(), second);
  add("{\"step\":201,");  // a run that was killed
  const auto found = read_inspections(file());
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[1].step, 101);
  EXPECT_EQ(found[0].loss_scale, 65536);
  EXPECT_EQ(update_ratio(found[0], "conv1.weight"), 0.25);
  ASSERT_EQ(found[0].tensors.size(), second.tensors.size());
  for (std::size_t i = 0; i < second.tensors.size(); ++i) {
    EXPECT_EQ(found[0].tensors[i].name, second.tensors[i].name);
    EXPECT_EQ(found[0].tensors[i].kind, second.tensors[i].kind);
    EXPECT_EQ(found[0].tensors[i].counts.nans(), second.tensors[i].counts.nans());
    for (int s = 0; s <= 24; ++s) {
      EXPECT_EQ(found[0].tensors[i].counts.flushed(s), second.tensors[i].counts.flushed(s));
      EXPECT_EQ(found[0].tensors[i].counts.overflowing(s), second.tensors[i].counts.overflowing(s));
    }
    EXPECT_EQ(found[0].tensors[i].counts.elements(), second.tensors[i].counts.elements());
  }
}

TEST_F(InspectionFile, ThatIsDamagedIsNamedWithItsLine) {
  append_inspection(file(), example());
  for (const char* line : {"no JSON\n", "{\"step\":1}\n", "[]\n"}) {
    std::ofstream copy(file(), std::ios::trunc);
    copy.close();
    append_inspection(file(), example());
    add(line);
    try {
      read_inspections(file());
      ADD_FAILURE() << line;
    } catch (const DataError& error) {
      EXPECT_NE(std::string(error.what()).find("inspection.jsonl:2: "), std::string::npos) << error.what();
    }
  }
}

InspectionReport report() {
  return {.run = "runs/<a & b>", .inspections = {example()}, .skips = {{1, "gradient of \"conv1.weight\"", 65536}}};
}

TEST(InspectionReport, TheTextHasTheAdviceFirstARowForEachTensorAndTheSkips) {
  const std::string text = to_text(report());
  EXPECT_EQ(text.find(advise(report().inspections)), 0U);
  for (const char* wanted : {"conv1.weight", "weight gradient", "2.5e-01", "step 1 at S = 65536: gradient of \"conv1.weight\""}) {
    EXPECT_NE(text.find(wanted), std::string::npos) << wanted << " in\n" << text;
  }
}

TEST(InspectionReport, TheTableHasAsManyFieldsInEachRow) {
  std::istringstream lines(to_csv(report()));
  std::string line;
  std::size_t rows = 0;
  for (; std::getline(lines, line); ++rows) EXPECT_EQ(std::ranges::count(line, ','), 17 + 50) << line;
  EXPECT_EQ(rows, 5U);
}

TEST(InspectionReport, ThePageNeedsNothingFromElsewhereAndEscapesNames) {
  const std::string page = to_html(report());
  EXPECT_EQ(page.find("http"), std::string::npos);
  EXPECT_FALSE(std::regex_search(page, std::regex("<link|<img|<iframe|@import|url\\(|src=|href=|fetch\\(")));
  EXPECT_EQ(page.find("<a & b>"), std::string::npos);
  EXPECT_NE(page.find("&lt;a &amp; b&gt;"), std::string::npos);
  std::size_t figures = 0;
  for (std::size_t at = page.find("<figure"); at != std::string::npos; at = page.find("<figure", at + 1)) ++figures;
  EXPECT_EQ(figures, 4U);
}

}  // namespace
}  // namespace minim::command

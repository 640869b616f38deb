#include <gtest/gtest.h>

#include <cmath>

#include "command/progress.h"
#include "command/text.h"

namespace minim::command {
namespace {

constexpr ProgressState kHalfway{.step = 50,
                                 .total_steps = 100,
                                 .epoch = 2,
                                 .epochs = 3,
                                 .loss = 0.25,
                                 .accuracy = 0.915,
                                 .images_per_second = 1234.4,
                                 .loss_scale = 65536,
                                 .skipped = 1,
                                 .seconds_left = 83};

TEST(ProgressLine, ShowsAllFigures) {
  EXPECT_EQ(plain_line(kHalfway),
            "epoch 2/3  step 50/100  loss 0.2500  accuracy 91.5%  1234 images/s  scale 65536  skipped 1  left 1:23");
}

TEST(ProgressLine, BarIsAsLongAsTheShareThatIsDone) {
  EXPECT_EQ(bar_line(kHalfway, 200), "[======>     ] " + plain_line(kHalfway));
  ProgressState end = kHalfway;
  end.step = 100;
  EXPECT_EQ(bar_line(end, 200), "[============] " + plain_line(end));
}

TEST(ProgressLine, BarFitsNarrowTerminals) {
  EXPECT_EQ(bar_line(kHalfway, 100), "[======>     ] 50/100 loss 0.2500 acc 91.5% 1234 img/s S 65536 skip 1 left 1:23");
  EXPECT_EQ(bar_line(kHalfway, 40), "50/100 loss 0.2500 acc 91.5% 1234 img/s ");
}

TEST(RateMeter, IsTheMeanOfAllStepsAtFirst) {
  RateMeter meter;
  EXPECT_TRUE(std::isinf(meter.seconds_left(5)));
  meter.add(1);  // the first step warms up
  for (int i = 0; i < 10; ++i) meter.add(0.1);
  constexpr double kRounding = 1e-12;  // a dozen roundings in FP64
  EXPECT_NEAR(meter.steps_per_second(), 11.0 / 2, kRounding);
  EXPECT_NEAR(meter.seconds_left(11), 2, kRounding);
}

TEST(RateMeter, ForgetsAnEarlierPace) {
  RateMeter meter;
  for (int i = 0; i < 100; ++i) meter.add(1);
  for (int i = 0; i < 400; ++i) meter.add(0.25);
  constexpr double kRemembered = 1e-6;  // 100 s at a memory of 5 s leave about e^-20 of the old pace
  EXPECT_NEAR(meter.steps_per_second(), 4, kRemembered);
}

TEST(Text, FormatsBytesDurationsAndMagnitudes) {
  EXPECT_EQ(format_bytes(512), "512 B");
  EXPECT_EQ(format_bytes(3 << 19), "1.50 MiB");
  EXPECT_EQ(format_duration(7.4), "0:07");
  EXPECT_EQ(format_duration(3723), "1:02:03");
  EXPECT_EQ(format_duration(std::nan("")), "-");
  EXPECT_EQ(format_magnitude(4.09e9), "4.09 G");
  EXPECT_EQ(format_magnitude(12340), "12.3 k");
  EXPECT_EQ(format_magnitude(950), "950");
  EXPECT_EQ(format_seconds(1.234), "1.23 s");
  EXPECT_EQ(format_seconds(0.0123), "12.3 ms");
  EXPECT_EQ(format_seconds(4.56e-6), "4.56 us");
  EXPECT_EQ(format_seconds(123e-6), "123 us");
}

TEST(TextTable, AlignsColumns) {
  TextTable table({"name", "size"});
  table.add({"é", "1"});
  table.add({"weights", "1234"});
  EXPECT_EQ(table.to_string(), "name     size\n-------------\né           1\nweights  1234\n");
}

}  // namespace
}  // namespace minim::command

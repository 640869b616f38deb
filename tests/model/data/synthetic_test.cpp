#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "minim/model/data/dataset.h"

namespace minim {
namespace {

const ImageTask kTask{.height = 9, .width = 10, .channels = 3, .classes = 4};
constexpr std::int64_t kElements = 9 * 10 * 3;

std::vector<float> image_of(const Dataset& dataset, std::int64_t index) {
  std::vector<float> image(kElements);
  dataset.read(index, image);
  return image;
}
std::int32_t label_of(const Dataset& dataset, std::int64_t index) {
  std::vector<float> image(kElements);
  return dataset.read(index, image);
}

TEST(Synthetic, IsMadeFromSeedAndIndexAlone) {
  const auto a = make_synthetic(kTask, 20, 5, Split::train);
  const auto larger = make_synthetic(kTask, 40, 5, Split::train);
  const auto other = make_synthetic(kTask, 20, 6, Split::train);
  for (std::int64_t n = 19; n >= 0; --n) {
    EXPECT_EQ(image_of(*a, n), image_of(*larger, n));
    EXPECT_EQ(label_of(*a, n), label_of(*larger, n));
    EXPECT_NE(image_of(*a, n), image_of(*other, n));
  }
}

TEST(Synthetic, TrainAndTestHaveTheSamePatternsUnderOtherNoise) {
  const auto train = make_synthetic(kTask, 400, 5, Split::train);
  const auto test = make_synthetic(kTask, 400, 5, Split::test);
  EXPECT_NE(image_of(*train, 0), image_of(*test, 0));
  // The mean image of a class, over some 100 images, is its pattern: noise of variance 1/2 leaves a deviation of 0.07.
  constexpr float kSevenDeviations = 0.5F;
  const auto class_mean = [](const Dataset& dataset, std::int32_t label) {
    std::vector<float> mean(kElements);
    float count = 0;
    for (std::int64_t n = 0; n < dataset.size(); ++n) count += label_of(dataset, n) == label ? 1.0F : 0.0F;
    for (std::int64_t n = 0; n < dataset.size(); ++n) {
      if (label_of(dataset, n) != label) continue;
      const auto image = image_of(dataset, n);
      for (std::size_t i = 0; i < mean.size(); ++i) mean[i] += image[i] / count;
    }
    return mean;
  };
  const auto a = class_mean(*train, 1);
  const auto b = class_mean(*test, 1);
  const auto c = class_mean(*test, 2);
  float largest = 0, other = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    largest = std::max(largest, std::abs(a[i] - b[i]));
    other = std::max(other, std::abs(a[i] - c[i]));
  }
  EXPECT_LT(largest, kSevenDeviations);
  EXPECT_GT(other, 2 * kSevenDeviations);
}

TEST(Synthetic, HasEveryClass) {
  const auto dataset = make_synthetic(kTask, 100, 1, Split::train);
  std::set<std::int32_t> labels;
  for (std::int64_t n = 0; n < dataset->size(); ++n) labels.insert(label_of(*dataset, n));
  EXPECT_EQ(labels, (std::set<std::int32_t>{0, 1, 2, 3}));
}

TEST(Synthetic, OfNothingIsInvalid) {
  EXPECT_THROW(make_synthetic(kTask, 0, 1, Split::train), InvalidArgument);
  EXPECT_THROW(make_synthetic(ImageTask{.classes = 0}, 10, 1, Split::train), InvalidArgument);
}

}  // namespace
}  // namespace minim

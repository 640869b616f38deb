#include <gtest/gtest.h>

#include <map>
#include <set>

#include "minim/model/data/dataset.h"
#include "model/data/idx_files.h"
#include "model/data/training_stream.h"
#include "scratch_directory.h"

namespace minim {
namespace {

using testing::ScratchDirectory;

constexpr std::int64_t kHeight = 11, kWidth = 9, kImages = 7;

/// Images of which all pixels differ.
class CropFlip : public ::testing::Test {
 protected:
  CropFlip() {
    testing::write_raw(scratch_.path() / "train-images-idx3-ubyte", testing::idx_images(kImages, kHeight, kWidth));
    testing::write_raw(scratch_.path() / "train-labels-idx1-ubyte", testing::idx_labels(kImages));
    dataset_ = open_idx(scratch_.path(), Split::train, Augment::crop_flip);
  }
  std::vector<float> augmented(std::int64_t index, const SampleKey& key) const {
    std::vector<float> image(kHeight * kWidth);
    EXPECT_EQ(dataset_->read_augmented(index, key, image), 3 * index % 10);
    return image;
  }
  std::vector<float> plain(std::int64_t index) const {
    std::vector<float> image(kHeight * kWidth);
    dataset_->read(index, image);
    return image;
  }

  ScratchDirectory scratch_;
  std::unique_ptr<Dataset> dataset_;
};

/// An image moved over a plane of zeros, then mirrored.
std::vector<float> moved(const std::vector<float>& image, std::int64_t down, std::int64_t right, bool is_mirrored) {
  std::vector<float> result(image.size());
  for (std::int64_t y = 0; y < kHeight; ++y) {
    for (std::int64_t x = 0; x < kWidth; ++x) {
      const std::int64_t from_y = y + down, from_x = x + right;
      if (from_y < 0 || from_y >= kHeight || from_x < 0 || from_x >= kWidth) continue;
      const std::int64_t to_x = is_mirrored ? kWidth - 1 - x : x;
      result[static_cast<std::size_t>(y * kWidth + to_x)] = image[static_cast<std::size_t>(from_y * kWidth + from_x)];
    }
  }
  return result;
}

TEST_F(CropFlip, EveryMoveOfUpToFourPixelsComesAsOftenAsTheOthers) {
  std::map<std::vector<float>, int> counts;  // of each image that there can be
  for (std::int64_t down = -4; down <= 4; ++down) {
    for (std::int64_t right = -4; right <= 4; ++right) {
      for (const bool is_mirrored : {false, true}) counts[moved(plain(2), down, right, is_mirrored)] = 0;
    }
  }
  ASSERT_EQ(counts.size(), 2 * 9 * 9);
  // Each is expected 100 times; the deviation of a count is 10.
  constexpr int kExpected = 100, kFiveDeviations = 50;
  for (int position = 0; position < 2 * 9 * 9 * kExpected; ++position) {
    const auto found = counts.find(augmented(2, {.seed = 1, .position = position}));
    ASSERT_NE(found, counts.end()) << "position " << position;
    ++found->second;
  }
  for (const auto& [image, count] : counts) EXPECT_NEAR(count, kExpected, kFiveDeviations);
}

TEST_F(CropFlip, DependsOnSeedAndPositionAlone) {
  const SampleKey key{.seed = 5, .position = 1};
  EXPECT_EQ(augmented(3, key), augmented(3, key));
  std::set<std::vector<float>> seen;
  constexpr std::int64_t kFar = std::int64_t{1} << 32U;
  for (const std::int64_t position : {std::int64_t{0}, std::int64_t{1}, kFar}) {
    for (const std::uint64_t seed : {std::uint64_t{5}, std::uint64_t{6}, std::uint64_t{5} + kFar}) {
      seen.insert(augmented(3, {.seed = seed, .position = position}));
    }
  }
  EXPECT_GE(seen.size(), 8);  // of nine; two may be the same by chance
}

TEST_F(CropFlip, LeavesEvaluationAlone) {
  const auto without = open_idx(scratch_.path(), Split::train);
  std::vector<float> image(kHeight * kWidth);
  for (std::int64_t i = 0; i < kImages; ++i) {
    without->read_augmented(i, {.seed = 1, .position = i}, image);
    EXPECT_EQ(image, plain(i));
  }
}

TEST_F(CropFlip, IsTheSameForAnyRanksAndThreadsAndWhenARunGoesOn) { testing::expect_one_stream(*dataset_); }

TEST_F(CropFlip, IsNewInEachEpoch) {
  const auto samples = testing::train(*dataset_, kImages, 4, 0, 1, 1);
  std::map<std::int32_t, std::set<std::vector<float>>> seen;  // by label, of which each image has its own
  for (std::size_t i = 0; i < samples.labels.size(); ++i) {
    const auto begin = samples.images.begin() + static_cast<std::ptrdiff_t>(i) * kHeight * kWidth;
    seen[samples.labels[i]].insert({begin, begin + kHeight * kWidth});
  }
  ASSERT_EQ(seen.size(), kImages);
  for (const auto& [label, images] : seen) EXPECT_GE(images.size(), 3) << label;  // of four; two may be the same by chance
}

}  // namespace
}  // namespace minim

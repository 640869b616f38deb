#include <gtest/gtest.h>
#include <sys/stat.h>

#include "minim/model/data/dataset.h"
#include "model/data/image_files.h"
#include "model/data/training_stream.h"
#include "scratch_directory.h"

namespace minim {
namespace {

namespace fs = std::filesystem;
using testing::Bytes;
using testing::gradient;
using testing::ScratchDirectory;

/// Photos of two classes: cat has three, all of different formats, dog two.
class ImageFolder : public ::testing::Test {
 protected:
  ImageFolder() {
    for (const char* directory : {"train/dog", "train/cat", "val/dog", "val/cat"}) {
      fs::create_directories(scratch_.path() / directory);
    }
    write("train/cat/b.png", testing::png_file(40, 30, 8, testing::kPngRgb, gradient(40, 30, 3, 1)));
    write("train/cat/a.JPEG", testing::jpeg_file(37, 50, 3, gradient(37, 50, 3, 2)));
    write("train/cat/c.jpg", testing::jpeg_file(50, 37, 1, gradient(50, 37, 1, 3)));
    write("train/dog/a.png", testing::png_file(64, 64, 8, testing::kPngGrey, gradient(64, 64, 1, 4)));
    write("train/dog/d.jpg", testing::png_file(90, 20, 8, testing::kPngRgb, gradient(90, 20, 3, 5)));  // so named, yet a PNG
    write("train/dog/.hidden", {1, 2, 3});
    write("train/README", {1, 2, 3});
    write("val/dog/x.png", testing::png_file(32, 32, 8, testing::kPngRgb, gradient(32, 32, 3, 6)));
    write("val/cat/y.png", testing::png_file(32, 32, 8, testing::kPngGrey, gradient(32, 32, 1, 7)));
  }

  void write(const std::string& name, const Bytes& bytes) const { testing::write_raw(scratch_.path() / name, bytes); }
  std::unique_ptr<Dataset> open(Split split, const PhotoOptions& options = {.size = 28}) const {
    return open_image_folder(scratch_.path(), split, options);
  }
  std::string refusal(Split split = Split::train) const {
    try {
      open(split);
    } catch (const DataError& error) {
      return error.what();
    }
    return "";
  }
  /// What reading an image throws: its text.
  std::string refusal_of_image(std::int64_t index) const {
    std::vector<float> image(28 * 28 * 3);
    try {
      open(Split::train)->read(index, image);
    } catch (const DataError& error) {
      return error.what();
    }
    return "";
  }
  std::string path(const std::string& name) const { return (scratch_.path() / name).string(); }

  ScratchDirectory scratch_;
};

TEST_F(ImageFolder, ClassesAndFilesComeInTheOrderOfTheirNames) {
  const auto train = open(Split::train);
  EXPECT_EQ(train->size(), 5);
  EXPECT_EQ(train->task().classes, 2);
  EXPECT_EQ(train->task().height, 28);
  EXPECT_EQ(train->task().width, 28);
  EXPECT_EQ(train->task().channels, 3);
  std::vector<float> image(28 * 28 * 3);
  std::vector<std::int32_t> labels;
  for (std::int64_t i = 0; i < 5; ++i) labels.push_back(train->read(i, image));
  EXPECT_EQ(labels, (std::vector<std::int32_t>{0, 0, 0, 1, 1}));
}

/// FP32 rounding of values near 2.
constexpr float kRounding = 1e-6F;

TEST_F(ImageFolder, EvaluationSeesTheMiddleNormalised) {
  const auto val = open(Split::test);
  ASSERT_EQ(val->size(), 2);
  std::vector<float> image(28 * 28 * 3);
  EXPECT_EQ(val->read(1, image), 1);
  const Bytes pixels = gradient(32, 32, 3, 6);  // whose shorter side is 28 * 256 / 224 already
  const double mean[] = {0.485, 0.456, 0.406}, deviation[] = {0.229, 0.224, 0.225};
  for (std::size_t i = 0; i < image.size(); ++i) {
    const std::size_t y = i / 3 / 28 + 2, x = i / 3 % 28 + 2, c = i % 3;
    ASSERT_NEAR(image[i], (pixels[(y * 32 + x) * 3 + c] / 255.0 - mean[c]) / deviation[c], kRounding) << i;
  }
}

TEST_F(ImageFolder, WhatIsDecodedSmallerIsSeenInTheSamePlace) {
  Bytes slope;  // (x + y) / 4, rounded down, which takes 0.375 from the average
  for (int y = 0; y < 256; ++y) {
    for (int x = 0; x < 256; ++x) slope.push_back(static_cast<std::uint8_t>((x + y) / 4));
  }
  write("val/cat/y.png", testing::jpeg_file(256, 256, 1, slope));
  const auto val = open(Split::test, {.size = 28, .channels = 1});  // rows and columns 16 to 240, eight of each for a pixel
  std::vector<float> image(28 * 28);
  val->read(0, image);
  constexpr double kLevels = 0.6;  // rounding to whole levels; half a pixel of the image in one direction would be one level
  for (std::size_t i = 0; i < image.size(); ++i) {
    const double y = 16 + 8 * static_cast<double>(i / 28) + 3.5, x = 16 + 8 * static_cast<double>(i % 28) + 3.5;
    ASSERT_NEAR((image[i] * 0.226 + 0.449) * 255, (x + y) / 4 - 0.375, kLevels) << i;
  }
}

TEST_F(ImageFolder, MayBeSeenInGrey) {
  const auto val = open(Split::test, {.size = 28, .channels = 1});
  EXPECT_EQ(val->task().channels, 1);
  std::vector<float> image(28 * 28);
  EXPECT_EQ(val->read(0, image), 0);
  const Bytes pixels = gradient(32, 32, 1, 7);
  for (std::size_t i = 0; i < image.size(); ++i) {
    ASSERT_NEAR(image[i], (pixels[(i / 28 + 2) * 32 + i % 28 + 2] / 255.0 - 0.449) / 0.226, kRounding) << i;
  }
  EXPECT_THROW(open(Split::test, {.size = 28, .channels = 2}), InvalidArgument);
}

TEST_F(ImageFolder, TrainingIsTheSameForAnyRanksAndThreadsAndWhenARunGoesOn) {
  testing::expect_one_stream(*open(Split::train, {.size = 16, .augment = Augment::crop_flip}));
}

TEST_F(ImageFolder, TrainingSeesAnotherPartEachTime) {
  const auto train = open(Split::train, {.size = 16, .augment = Augment::crop_flip});
  std::vector<float> first(16 * 16 * 3), second(16 * 16 * 3), middle(16 * 16 * 3);
  train->read_augmented(0, {.seed = 1, .position = 0}, first);
  train->read_augmented(0, {.seed = 1, .position = 5}, second);
  train->read(0, middle);
  EXPECT_NE(first, second);
  EXPECT_NE(first, middle);
  open(Split::train, {.size = 16})->read_augmented(0, {.seed = 1, .position = 0}, first);
  EXPECT_EQ(first, middle);
}

TEST_F(ImageFolder, ACacheOfDecodedImagesChangesNothingButWhatIsRead) {
  constexpr std::int64_t kAll = (40 * 30 + 37 * 50 + 50 * 37 + 64 * 64 + 90 * 20) * 3;
  for (const std::int64_t size : {28, 5}) {  // at 5 most windows are decoded smaller
    const PhotoOptions plain{.size = size, .augment = Augment::crop_flip};
    const auto expected = testing::train(*open(Split::train, plain), 5, 8, 0, 1, 1);
    for (const std::int64_t most_bytes : {kAll, kAll - 1, std::int64_t{5000}, std::int64_t{1}}) {
      PhotoOptions cached = plain;
      cached.cache_bytes = most_bytes;
      cached.account = std::make_shared<MemoryAccount>();
      EXPECT_EQ(testing::train(*open(Split::train, cached), 5, 8, 0, 1, 3), expected) << most_bytes;
      EXPECT_LE(cached.account->peak_bytes(), most_bytes);
      EXPECT_EQ(cached.account->in_use_bytes(), 0);
    }
  }
}

TEST_F(ImageFolder, WhatIsInTheCacheIsNotReadAgain) {
  PhotoOptions options{.size = 28, .augment = Augment::crop_flip, .cache_bytes = 1 << 20};
  options.account = std::make_shared<MemoryAccount>();
  const auto train = open(Split::train, options);
  const auto expected = testing::train(*train, 5, 6, 0, 1, 1);
  EXPECT_EQ(options.account->in_use_bytes(MemoryKind::staging), (40 * 30 + 37 * 50 + 50 * 37 + 64 * 64 + 90 * 20) * 3);
  fs::remove_all(path("train"));
  EXPECT_EQ(testing::train(*train, 5, 6, 0, 1, 3), expected);
}

TEST_F(ImageFolder, ADamagedImageIsNamed) {
  Bytes cut = testing::read_raw(path("train/cat/a.JPEG"));
  cut.resize(cut.size() / 2);
  write("train/cat/a.JPEG", cut);
  EXPECT_EQ(refusal_of_image(0).find(path("train/cat/a.JPEG") + ": JPEG: "), 0) << refusal_of_image(0);
  write("train/cat/b.png", {});
  EXPECT_EQ(refusal_of_image(1).find(path("train/cat/b.png") + ": offset 0: found nothing"), 0) << refusal_of_image(1);
  fs::remove(path("train/cat/c.jpg"));
  ASSERT_EQ(mkfifo(path("train/cat/c.jpg").c_str(), 0600), 0);  // to which nobody writes
  EXPECT_EQ(refusal_of_image(2), path("train/cat/c.jpg") + ": is no regular file");
}

TEST_F(ImageFolder, AFileThatHasGoneIsNamed) {
  const auto train = open(Split::train);
  fs::remove(path("train/cat/b.png"));
  std::vector<float> image(28 * 28 * 3);
  try {
    train->read(1, image);
    FAIL() << "it was read";
  } catch (const DataError& error) {
    EXPECT_EQ(std::string(error.what()).find(path("train/cat/b.png") + ": cannot be opened: No such file"), 0) << error.what();
  }
}

TEST_F(ImageFolder, WhatIsNoTreeOfImagesIsRefusedByName) {
  fs::create_directory(path("val/cow"));
  EXPECT_EQ(refusal(Split::test), path("val/cow") + ": is no class of the training images");
  fs::remove_all(path("val"));
  EXPECT_NE(refusal(Split::test).find(scratch_.path().string() + ": has neither a directory val nor test"), std::string::npos);

  write("train/cat/z.gif", {1});
  EXPECT_EQ(refusal().find(path("train/cat/z.gif")), 0) << refusal();
  fs::remove(path("train/cat/z.gif"));
  fs::create_directory(path("train/ant"));
  EXPECT_EQ(refusal(), path("train/ant") + ": has no images");
  fs::remove_all(path("train"));
  EXPECT_EQ(refusal().find(path("train") + ": cannot be read: No such file"), 0) << refusal();
  fs::create_directory(path("train"));
  EXPECT_EQ(refusal().find(path("train") + ": has no directories"), 0) << refusal();
}

TEST_F(ImageFolder, TheTestImagesMayBeCalledTest) {
  fs::rename(path("val"), path("test"));
  EXPECT_EQ(open(Split::test)->size(), 2);
}

}  // namespace
}  // namespace minim

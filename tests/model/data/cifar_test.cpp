#include <gtest/gtest.h>

#include <cmath>

#include "minim/model/data/dataset.h"
#include "model/data/idx_files.h"
#include "scratch_directory.h"

namespace minim {
namespace {

namespace fs = std::filesystem;
using testing::Bytes;
using testing::ScratchDirectory;
using testing::write_raw;

constexpr std::size_t kPlane = 32 * 32;

struct Form {
  const char* name;
  std::unique_ptr<Dataset> (*open)(const fs::path&, Split, Augment);
  std::vector<std::string> train_files;
  std::string test_file;
  std::vector<std::uint32_t> classes;  ///< of each label byte; the last is what is learnt
};
const Form kCifar10{"cifar10",
                    open_cifar10,
                    {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"},
                    "test_batch.bin",
                    {10}};
const Form kCifar100{"cifar100", open_cifar100, {"train.bin"}, "test.bin", {20, 100}};

/// Value of a pixel of record `n` of a file.
std::uint8_t pixel(std::uint32_t file, std::uint32_t n, std::size_t channel, std::size_t position) {
  return static_cast<std::uint8_t>((7 * position + 31 * n + 60 * channel * channel + 11 * file) % 251 / (channel + 1));
}
std::uint8_t label(const Form& form, std::uint32_t file, std::uint32_t n, std::size_t byte) {
  return static_cast<std::uint8_t>((3 * n + 7 * file + 5) % form.classes[byte]);
}

Bytes records(const Form& form, std::uint32_t file, std::uint32_t count) {
  Bytes bytes;
  for (std::uint32_t n = 0; n < count; ++n) {
    for (std::size_t l = 0; l < form.classes.size(); ++l) bytes.push_back(label(form, file, n, l));
    for (std::size_t c = 0; c < 3; ++c) {
      for (std::size_t i = 0; i < kPlane; ++i) bytes.push_back(pixel(file, n, c, i));
    }
  }
  return bytes;
}

constexpr std::uint32_t kTestFile = 9;
constexpr std::uint32_t kPerFile = 3, kTest = 4;

class CifarForms : public ::testing::TestWithParam<Form> {
 protected:
  void SetUp() override {
    for (std::uint32_t f = 0; f < files(); ++f) write_raw(path(GetParam().train_files[f]), records(GetParam(), f, kPerFile));
    write_raw(path(GetParam().test_file), records(GetParam(), kTestFile, kTest));
  }
  fs::path path(const std::string& name) const { return scratch_.path() / name; }
  std::uint32_t files() const { return static_cast<std::uint32_t>(GetParam().train_files.size()); }
  std::size_t record_bytes() const { return GetParam().classes.size() + 3 * kPlane; }

  /// What opening throws: its text.
  std::string refusal(Split split) const {
    try {
      GetParam().open(scratch_.path(), split, Augment::none);
    } catch (const DataError& error) {
      return error.what();
    }
    return "";
  }
  ScratchDirectory scratch_;
};
INSTANTIATE_TEST_SUITE_P(Cifar, CifarForms, ::testing::Values(kCifar10, kCifar100),
                         [](const auto& form) { return form.param.name; });

/// FP32 rounding of pixels normalised in FP64 here, in another order of summation.
constexpr float kRounding = 1e-6F;

TEST_P(CifarForms, AreReadAndNormalisedByTheTrainingImagesOfEachChannel) {
  double mean[3] = {}, deviation[3] = {};
  const double count = files() * kPerFile * kPlane;
  const auto for_each_training_pixel = [&](auto&& visit) {
    for (std::uint32_t f = 0; f < files(); ++f) {
      for (std::uint32_t n = 0; n < kPerFile; ++n) {
        for (std::size_t i = 0; i < 3 * kPlane; ++i) visit(i / kPlane, pixel(f, n, i / kPlane, i % kPlane) / 255.0);
      }
    }
  };
  for_each_training_pixel([&](std::size_t c, double value) { mean[c] += value / count; });
  for_each_training_pixel([&](std::size_t c, double value) { deviation[c] += (value - mean[c]) * (value - mean[c]) / count; });
  for (double& value : deviation) value = std::sqrt(value);

  for (const auto split : {Split::train, Split::test}) {
    const auto dataset = GetParam().open(scratch_.path(), split, Augment::none);
    ASSERT_EQ(dataset->size(), split == Split::train ? files() * kPerFile : kTest);
    EXPECT_EQ(dataset->task().height, 32);
    EXPECT_EQ(dataset->task().width, 32);
    EXPECT_EQ(dataset->task().channels, 3);
    EXPECT_EQ(dataset->task().classes, GetParam().classes.back());
    std::vector<float> image(3 * kPlane);
    for (std::uint32_t k = 0; k < dataset->size(); ++k) {
      const std::uint32_t file = split == Split::train ? k / kPerFile : kTestFile;
      const std::uint32_t n = split == Split::train ? k % kPerFile : k;
      EXPECT_EQ(dataset->read(k, image), label(GetParam(), file, n, GetParam().classes.size() - 1));
      for (std::size_t i = 0; i < image.size(); ++i) {
        const std::size_t channel = i % 3;
        ASSERT_NEAR(image[i], (pixel(file, n, channel, i / 3) / 255.0 - mean[channel]) / deviation[channel], kRounding);
      }
    }
  }
}

TEST_P(CifarForms, LabelsOutOfRangeAreRefusedByNameAndOffset) {
  for (std::size_t l = 0; l < GetParam().classes.size(); ++l) {
    Bytes bytes = records(GetParam(), kTestFile, kTest);
    bytes[2 * record_bytes() + l] = static_cast<std::uint8_t>(GetParam().classes[l]);
    write_raw(path(GetParam().test_file), bytes);
    const std::string text = refusal(Split::test);
    EXPECT_NE(text.find(path(GetParam().test_file).string()), std::string::npos) << text;
    EXPECT_NE(text.find("offset " + std::to_string(2 * record_bytes() + l)), std::string::npos) << text;
    EXPECT_NE(text.find("label " + std::to_string(GetParam().classes[l])), std::string::npos) << text;
  }
}

TEST_P(CifarForms, FilesThatEndWithinARecordAreRefusedByNameAndOffset) {
  const Bytes whole = records(GetParam(), 0, kPerFile);
  for (const std::size_t size : {std::size_t{1}, record_bytes() - 1, record_bytes() + 1, whole.size() - 1, whole.size() + 1}) {
    Bytes bytes = whole;
    bytes.resize(size);
    write_raw(path(GetParam().train_files[0]), bytes);
    for (const auto split : {Split::train, Split::test}) {  // training images normalise those of the test
      const std::string text = refusal(split);
      EXPECT_NE(text.find(path(GetParam().train_files[0]).string()), std::string::npos) << text;
      EXPECT_NE(text.find("offset " + std::to_string(size) + ": the file ends here"), std::string::npos) << text;
      EXPECT_NE(text.find("record " + std::to_string(size / record_bytes())), std::string::npos) << text;
    }
  }
}

TEST_P(CifarForms, EmptyAndMissingFilesAreRefused) {
  write_raw(path(GetParam().train_files.back()), {});
  EXPECT_NE(refusal(Split::train).find("the file is empty"), std::string::npos);
  fs::remove(path(GetParam().train_files.back()));
  const std::string text = refusal(Split::train);
  EXPECT_NE(text.find(scratch_.path().string()), std::string::npos) << text;
  EXPECT_NE(text.find(GetParam().train_files.back()), std::string::npos) << text;
  EXPECT_NE(refusal(Split::test), "");
}

TEST_P(CifarForms, MayBeCompressed) {
  const auto plain = GetParam().open(scratch_.path(), Split::test, Augment::none);
  fs::remove(path(GetParam().test_file));
  testing::write_gzip(path(GetParam().test_file + ".gz"), records(GetParam(), kTestFile, kTest));
  const auto compressed = GetParam().open(scratch_.path(), Split::test, Augment::none);
  std::vector<float> expected(3 * kPlane), found(3 * kPlane);
  ASSERT_EQ(compressed->size(), plain->size());
  EXPECT_EQ(compressed->read(kTest - 1, found), plain->read(kTest - 1, expected));
  EXPECT_EQ(found, expected);
}

}  // namespace
}  // namespace minim

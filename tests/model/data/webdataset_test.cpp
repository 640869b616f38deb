#include <gtest/gtest.h>

#include "minim/model/data/dataset.h"
#include "model/data/image_files.h"
#include "model/data/tar_files.h"
#include "model/data/training_stream.h"
#include "scratch_directory.h"

namespace minim {
namespace {

namespace fs = std::filesystem;
using testing::append_member;
using testing::Bytes;
using testing::bytes_of;
using testing::gradient;
using testing::ScratchDirectory;

Bytes photo(unsigned salt) { return testing::png_file(32, 32, 8, testing::kPngRgb, gradient(32, 32, 3, salt)); }

/// Two shards for training, of three images and two, one for evaluation.
class WebDataset : public ::testing::Test {
 protected:
  WebDataset() {
    Bytes first, second, val;
    append_member(first, "a/001.cls", bytes_of("2"));
    append_member(first, "a/001.png", photo(1));
    append_member(first, "a/002.jpg", testing::jpeg_file(40, 30, 3, gradient(40, 30, 3, 2)));
    append_member(first, "a/002.json", bytes_of("{}"));
    append_member(first, "a/002.cls", bytes_of("0\n"));
    append_member(first, "a/._003.png", bytes_of("of macOS"));
    append_member(first, "a/readme", bytes_of("no sample"));
    append_member(first, "b/002.cls", bytes_of("4"));
    append_member(first, "b/002.seg.png", bytes_of("another file of the sample"));
    append_member(first, "b/002.PNG", photo(3));
    for (const char* name : {"004", "005"}) {
      append_member(second, name + std::string(".cls"), bytes_of("1"));
      append_member(second, name + std::string(".png"), photo(static_cast<unsigned>(name[2])));
    }
    append_member(val, "x.png", photo(6));
    append_member(val, "x.cls", bytes_of("3"));
    write("train-00.tar", first);
    write("train-01.tar", second);
    write("val-00.tar", val);
  }
  void write(const std::string& name, Bytes tar) const {
    testing::end_archive(tar);
    testing::write_raw(scratch_.path() / name, tar);
  }
  std::unique_ptr<Dataset> open(Split split, const PhotoOptions& options = {.size = 28}) const {
    return open_webdataset(scratch_.path(), split, options);
  }
  /// What opening throws where the shard for evaluation has these members.
  std::string refusal(const Bytes& val) const {
    write("val-00.tar", val);
    try {
      open(Split::test);
    } catch (const DataError& error) {
      return error.what();
    }
    return "";
  }
  std::string path(const std::string& name) const { return (scratch_.path() / name).string(); }

  ScratchDirectory scratch_;
};

TEST_F(WebDataset, SamplesComeInTheOrderOfShardsAndMembers) {
  const auto train = open(Split::train);
  ASSERT_EQ(train->size(), 5);
  EXPECT_EQ(train->task().classes, 5);
  std::vector<float> image(28 * 28 * 3);
  std::vector<std::int32_t> labels;
  for (std::int64_t i = 0; i < 5; ++i) labels.push_back(train->read(i, image));
  EXPECT_EQ(labels, (std::vector<std::int32_t>{2, 0, 4, 1, 1}));
  const auto val = open(Split::test);
  EXPECT_EQ(val->size(), 1);
  EXPECT_EQ(val->task().classes, 5);
}

TEST_F(WebDataset, ImagesAreSeenAsThoseOfAFolder) {
  fs::create_directories(path("folder/train/only"));
  testing::write_raw(path("folder/train/only/a.png"), photo(1));
  testing::write_raw(path("folder/train/only/b.png"), photo(3));
  const PhotoOptions options{.size = 28, .augment = Augment::crop_flip};
  const auto folder = open_image_folder(path("folder"), Split::train, options);
  const auto shards = open(Split::train, options);
  std::vector<float> expected(28 * 28 * 3), found(28 * 28 * 3);
  for (const auto& [in_folder, in_shards] : {std::pair{0, 0}, {1, 2}}) {
    folder->read(in_folder, expected);
    shards->read(in_shards, found);
    EXPECT_EQ(found, expected);
    folder->read_augmented(in_folder, {.seed = 3, .position = 8}, expected);
    shards->read_augmented(in_shards, {.seed = 3, .position = 8}, found);
    EXPECT_EQ(found, expected);
  }
}

TEST_F(WebDataset, TrainingIsTheSameForAnyRanksAndThreadsAndWhenARunGoesOn) {
  testing::expect_one_stream(*open(Split::train, {.size = 16, .augment = Augment::crop_flip}));
}

TEST_F(WebDataset, MoreShardsThanStayOpenCanBeRead) {
  constexpr std::int64_t kShards = 300;
  for (const char* name : {"train-00.tar", "train-01.tar"}) fs::remove(path(name));
  for (std::int64_t i = 0; i < kShards; ++i) {
    Bytes tar;
    append_member(tar, "a.png", photo(static_cast<unsigned>(i)));
    append_member(tar, "a.cls", bytes_of(std::to_string(i)));
    write("train-" + std::to_string(1000 + i) + ".tar", tar);
  }
  const auto train = open(Split::train);
  std::vector<float> image(28 * 28 * 3);
  for (std::int64_t i = 0; i < kShards; ++i) ASSERT_EQ(train->read(i, image), i);
}

TEST_F(WebDataset, ADamagedImageIsNamedByShardAndMember) {
  Bytes val;
  append_member(val, "long/x.cls", bytes_of("0"));
  append_member(val, "pax", bytes_of("19 path=long/x.png\n"), 'x');
  append_member(val, "x", bytes_of("GIF89a"));
  ASSERT_EQ(refusal(val), "");
  std::vector<float> image(28 * 28 * 3);
  try {
    open(Split::test)->read(0, image);
    FAIL() << "it was read";
  } catch (const DataError& error) {
    EXPECT_EQ(std::string(error.what()).find(path("val-00.tar") + ": long/x.png: offset 0: found 47 49 46"), 0) << error.what();
  }
}

TEST_F(WebDataset, WhatIsNoSampleIsRefusedByShardAndOffset) {
  const auto shard = [](const std::vector<std::pair<std::string, std::string>>& members) {
    Bytes tar;
    for (const auto& [name, content] : members) append_member(tar, name, bytes_of(content));
    return tar;
  };
  const std::string begin = path("val-00.tar") + ": offset ";
  EXPECT_EQ(refusal(shard({{"x.png", "?"}, {"y.png", "?"}, {"y.cls", "1"}})), begin + "0: x.png has no x.cls beside it");
  EXPECT_EQ(refusal(shard({{"y.png", "?"}, {"y.cls", "1"}, {"x.webp", "?"}, {"x.cls", "1"}})),
            begin + "3072: x.cls has no .jpg, .jpeg or .png beside it");
  EXPECT_EQ(refusal(shard({{"x.cls", "1"}, {"x.png", "?"}, {"x.jpg", "?"}})),
            begin + "2048: x.jpg follows x.png, wanted one image of x");
  for (const std::string label : {"", "cat", "-1", "1048576", "1 2", "99999999999999999999"}) {
    const std::string text = refusal(shard({{"x.cls", label}, {"x.png", "?"}}));
    EXPECT_EQ(text.find(begin + "512: x.cls is \""), 0) << text;
  }
  EXPECT_EQ(refusal(shard({{"x.cls", "5"}, {"x.png", "?"}})),
            path("val-00.tar") + ": x.png: has label 5, those of the training images are below 5");
  EXPECT_NE(refusal({}).find("has no images"), std::string::npos);
  fs::remove(path("val-00.tar"));
  fs::rename(path("train-00.tar"), path("test-00.tar"));
  EXPECT_EQ(open(Split::train)->size(), 2);
  fs::remove(path("test-00.tar"));
  try {
    open(Split::test);
    FAIL() << "it was opened";
  } catch (const DataError& error) {
    EXPECT_EQ(error.what(), scratch_.path().string() + ": has no val-*.tar and no test-*.tar");
  }
}

}  // namespace
}  // namespace minim

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "minim/model/data/dataset.h"
#include "model/data/idx_files.h"
#include "scratch_directory.h"

namespace minim {
namespace {

namespace fs = std::filesystem;
using testing::Bytes;
using testing::idx_images;
using testing::idx_labels;
using testing::ScratchDirectory;
using testing::write_gzip;
using testing::write_raw;

constexpr std::uint32_t kTrain = 30, kTest = 12, kRows = 5, kColumns = 4;

using Write = void (*)(const fs::path&, const Bytes&);
struct Form {
  const char* name;
  const char* suffix;
  Write write;
};
constexpr Form kRaw{"raw", "", write_raw};
constexpr Form kGzip{"gzip", ".gz", write_gzip};

/// A sound data set of four files.
void write_all(const fs::path& directory, const Form& form) {
  form.write(directory / ("train-images-idx3-ubyte" + std::string(form.suffix)), idx_images(kTrain, kRows, kColumns));
  form.write(directory / ("train-labels-idx1-ubyte" + std::string(form.suffix)), idx_labels(kTrain));
  form.write(directory / ("t10k-images-idx3-ubyte" + std::string(form.suffix)), idx_images(kTest, kRows, kColumns, 90));
  form.write(directory / ("t10k-labels-idx1-ubyte" + std::string(form.suffix)), idx_labels(kTest));
}

std::string refusal(const fs::path& directory, Split split = Split::train) {
  try {
    open_idx(directory, split);
  } catch (const DataError& error) {
    return error.what();
  }
  return "";
}

class IdxForms : public ::testing::TestWithParam<Form> {
 protected:
  fs::path file(const std::string& name) const { return scratch_.path() / (name + GetParam().suffix); }
  void replace(const std::string& name, const Bytes& bytes) const { GetParam().write(file(name), bytes); }

  void SetUp() override { write_all(scratch_.path(), GetParam()); }
  ScratchDirectory scratch_;
};
INSTANTIATE_TEST_SUITE_P(Idx, IdxForms, ::testing::Values(kRaw, kGzip), [](const auto& form) { return form.param.name; });

/// FP32 rounding of pixels normalised in FP64 here, in another order of summation: a few units in the last place of values
/// near 2.
constexpr float kRounding = 1e-6F;

TEST_P(IdxForms, AreReadAndNormalisedByTheTrainingImages) {
  const Bytes train = idx_images(kTrain, kRows, kColumns);
  double mean = 0, square = 0;
  const double count = kTrain * kRows * kColumns;
  for (std::size_t i = 16; i < train.size(); ++i) mean += train[i] / 255.0 / count;
  for (std::size_t i = 16; i < train.size(); ++i) square += (train[i] / 255.0 - mean) * (train[i] / 255.0 - mean) / count;
  const double deviation = std::sqrt(square);

  for (const auto split : {Split::train, Split::test}) {
    const auto dataset = open_idx(scratch_.path(), split);
    const Bytes images = split == Split::train ? train : idx_images(kTest, kRows, kColumns, 90);
    ASSERT_EQ(dataset->size(), split == Split::train ? kTrain : kTest);
    EXPECT_EQ(dataset->task().height, kRows);
    EXPECT_EQ(dataset->task().width, kColumns);
    EXPECT_EQ(dataset->task().channels, 1);
    EXPECT_EQ(dataset->task().classes, 10);
    std::vector<float> image(kRows * kColumns);
    for (std::int64_t n = 0; n < dataset->size(); ++n) {
      EXPECT_EQ(dataset->read(n, image), 3 * n % 10);
      for (std::size_t i = 0; i < image.size(); ++i) {
        const double pixel = images[16 + static_cast<std::size_t>(n) * image.size() + i] / 255.0;
        ASSERT_NEAR(image[i], (pixel - mean) / deviation, kRounding);
      }
    }
  }
}

struct Fault {
  const char* name;
  const char* file;
  std::function<Bytes(Bytes)> damage;  ///< of the uncompressed bytes
  std::vector<std::string> sentence;   ///< parts of the text
};

void set_u32(Bytes& bytes, std::size_t offset, std::uint32_t value) {
  Bytes word;
  testing::append_u32(word, value);
  std::copy(word.begin(), word.end(), bytes.begin() + static_cast<std::ptrdiff_t>(offset));
}
std::function<Bytes(Bytes)> with_u32(std::size_t offset, std::uint32_t value) {
  return [=](Bytes bytes) {
    set_u32(bytes, offset, value);
    return bytes;
  };
}
std::function<Bytes(Bytes)> cut_to(std::size_t size) {
  return [=](Bytes bytes) {
    bytes.resize(size);
    return bytes;
  };
}

TEST_P(IdxForms, EveryFalseClaimIsRefusedByNameAndOffset) {
  const std::size_t images_end = 16 + kTrain * kRows * kColumns;
  const std::vector<Fault> faults = {
      {"labels for images", "train-images-idx3-ubyte", with_u32(0, 0x801), {"offset 0", "0x00000801", "0x00000803"}},
      {"images for labels", "train-labels-idx1-ubyte", with_u32(0, 0x803), {"offset 0", "0x00000803", "0x00000801"}},
      {"little-endian", "train-images-idx3-ubyte", with_u32(0, 0x03080000), {"offset 0", "0x03080000"}},
      {"floats", "train-images-idx3-ubyte", with_u32(0, 0xD03), {"offset 0", "0x00000d03"}},
      {"no images", "train-images-idx3-ubyte", with_u32(4, 0), {"offset 4", "number of images is 0"}},
      {"no rows", "train-images-idx3-ubyte", with_u32(8, 0), {"offset 8", "number of rows is 0"}},
      {"no columns", "train-images-idx3-ubyte", with_u32(12, 0), {"offset 12", "number of columns is 0"}},
      {"one image more", "train-images-idx3-ubyte", with_u32(4, kTrain + 1), {"offset", "31"}},
      {"one image less", "train-images-idx3-ubyte", with_u32(4, kTrain - 1), {"offset 596", "more bytes follow"}},
      {"huge count", "train-images-idx3-ubyte", with_u32(4, 0xFFFFFFFF), {"offset 16", "claims 4294967295"}},
      {"huge rows", "train-images-idx3-ubyte", with_u32(8, 0xFFFFFFFF), {"offset 16", "claims 30 images"}},
      {"more labels", "train-labels-idx1-ubyte", with_u32(4, kTrain + 1), {"offset 4", "31 labels", "30 images"}},
      {"label 10",
       "train-labels-idx1-ubyte",
       [](Bytes b) {
         b[8 + 17] = 10;
         return b;
       },
       {"offset 25", "label 10", "[0, 10)"}},
      {"cut in the magic number", "train-images-idx3-ubyte", cut_to(3), {"offset 3", "magic number"}},
      {"cut in the header", "train-images-idx3-ubyte", cut_to(13), {"offset 13", "number of columns"}},
      {"cut in the data", "train-labels-idx1-ubyte", cut_to(8 + kTrain - 1), {"offset"}},
      {"a byte too many", "train-images-idx3-ubyte", cut_to(images_end + 1), {"offset 616", "more bytes follow"}},
  };
  for (const Fault& fault : faults) {
    const bool images = std::string(fault.file).find("images") != std::string::npos;
    replace(fault.file, fault.damage(images ? idx_images(kTrain, kRows, kColumns) : idx_labels(kTrain)));
    const std::string text = refusal(scratch_.path());
    EXPECT_NE(text.find(file(fault.file).string()), std::string::npos) << fault.name << ": " << text;
    for (const std::string& part : fault.sentence) EXPECT_NE(text.find(part), std::string::npos) << fault.name << ": " << text;
    write_all(scratch_.path(), GetParam());
  }
  EXPECT_EQ(refusal(scratch_.path()), "");
}

TEST_P(IdxForms, TestImagesOfAnotherSizeAreRefused) {
  replace("t10k-images-idx3-ubyte", idx_images(kTest, kColumns, kRows));
  EXPECT_NE(refusal(scratch_.path(), Split::test).find("images of 4 x 5"), std::string::npos);
}

TEST_P(IdxForms, EmptyFilesAreRefused) {
  write_raw(file("train-images-idx3-ubyte"), {});
  EXPECT_NE(refusal(scratch_.path()).find("the file is empty"), std::string::npos);
}

TEST_P(IdxForms, MissingFilesAreListedUnderAllTheirNames) {
  fs::remove(file("train-labels-idx1-ubyte"));
  const std::string text = refusal(scratch_.path());
  EXPECT_NE(text.find(scratch_.path().string()), std::string::npos) << text;
  EXPECT_NE(text.find("train-labels-idx1-ubyte "), std::string::npos) << text;
  EXPECT_NE(text.find("train-labels-idx1-ubyte.gz"), std::string::npos) << text;
}

TEST_P(IdxForms, ImagesOutOfRangeAreTheCallersFault) {
  const auto dataset = open_idx(scratch_.path(), Split::train);
  std::vector<float> image(kRows * kColumns);
  EXPECT_THROW(dataset->read(-1, image), InvalidArgument);
  EXPECT_THROW(dataset->read(kTrain, image), InvalidArgument);
  image.pop_back();
  EXPECT_THROW(dataset->read(0, image), InvalidArgument);
}

TEST(Idx, EveryCutOfAGzipStreamIsRefused) {
  const ScratchDirectory scratch;
  write_all(scratch.path(), kGzip);
  const fs::path file = scratch.path() / "train-labels-idx1-ubyte.gz";
  const Bytes whole = testing::read_raw(file);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    write_raw(file, Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)));
    EXPECT_NE(refusal(scratch.path()).find(file.string()), std::string::npos) << size << " of " << whole.size() << " bytes";
  }
}

TEST(Idx, ChangedGzipDataAndChecksumsAreRefused) {
  const ScratchDirectory scratch;
  write_all(scratch.path(), kGzip);
  const fs::path file = scratch.path() / "train-labels-idx1-ubyte.gz";
  const Bytes whole = testing::read_raw(file);
  // The header holds a time stamp and hints besides the magic number; the data's last byte is filled up with bits of no meaning.
  constexpr std::size_t kHeaderBytes = 10, kTrailerBytes = 8;
  const std::size_t last_of_data = whole.size() - kTrailerBytes - 1;
  for (std::size_t i = kHeaderBytes; i < whole.size(); ++i) {
    if (i == last_of_data) continue;
    Bytes changed = whole;
    changed[i] ^= 0x10;
    write_raw(file, changed);
    EXPECT_NE(refusal(scratch.path()).find(file.string()), std::string::npos) << "byte " << i << " of " << whole.size();
  }
}

TEST(Idx, ADirectoryThatIsNoneIsNamed) {
  EXPECT_NE(refusal("/nonexistent/minim").find("/nonexistent/minim: no such directory"), std::string::npos);
}

}  // namespace
}  // namespace minim

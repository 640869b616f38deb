#include "data/encoded_image.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "minim/runtime/error.h"
#include "model/data/image_files.h"

namespace minim {
namespace {

using testing::Bytes;
using testing::gradient;
using testing::jpeg_file;
using testing::png_file;

Bitmap decoded(const Bytes& file, int reduction = 1) { return read_image_header(file)->decode(reduction); }

std::string refusal(const Bytes& file) {
  try {
    decoded(file);
  } catch (const DataError& error) {
    return error.what();
  }
  return "";
}

TEST(Png, GreyAndColouredPixelsAreExact) {
  const Bytes grey = gradient(5, 4, 1), colours = gradient(5, 4, 3);
  EXPECT_EQ(decoded(png_file(5, 4, 8, testing::kPngGrey, grey)).pixels, grey);
  const Bitmap bitmap = decoded(png_file(5, 4, 8, testing::kPngRgb, colours));
  EXPECT_EQ(bitmap.pixels, colours);
  EXPECT_EQ(bitmap.height, 4);
  EXPECT_EQ(bitmap.width, 5);
  EXPECT_EQ(bitmap.channels, 3);
  EXPECT_EQ(decoded(png_file(8, 2, 1, testing::kPngGrey, {0b10010110, 0b00001111})).pixels,
            (Bytes{255, 0, 0, 255, 0, 255, 255, 0, 0, 0, 0, 0, 255, 255, 255, 255}));
}

TEST(Png, PalettesBecomeTheirColours) {
  const Bytes palette = {1, 2, 3, 40, 50, 60, 200, 100, 0};
  const Bitmap bitmap = decoded(png_file(4, 1, 2, testing::kPngPalette, {0b00011001}, {{"PLTE", palette}}));
  EXPECT_EQ(bitmap.pixels, (Bytes{1, 2, 3, 40, 50, 60, 200, 100, 0, 40, 50, 60}));
}

TEST(Png, TransparentPixelsAreSeenBeforeWhite) {
  const Bitmap bitmap = decoded(png_file(3, 1, 8, testing::kPngRgba, {10, 20, 30, 255, 10, 20, 30, 0, 0, 0, 0, 128}));
  const Bytes opaque(bitmap.pixels.begin(), bitmap.pixels.begin() + 6);
  EXPECT_EQ(opaque, (Bytes{10, 20, 30, 255, 255, 255}));
  EXPECT_GT(bitmap.pixels[6], 100);
  EXPECT_LT(bitmap.pixels[6], 200);
  EXPECT_EQ(decoded(png_file(2, 1, 8, testing::kPngGreyAlpha, {10, 255, 10, 0})).pixels, (Bytes{10, 255}));
  const Bytes palette = {9, 9, 9, 40, 50, 60};
  EXPECT_EQ(decoded(png_file(2, 1, 8, testing::kPngPalette, {0, 1}, {{"PLTE", palette}, {"tRNS", {0}}})).pixels,
            (Bytes{255, 255, 255, 40, 50, 60}));
}

TEST(Png, SixteenBitsAreRoundedToEight) {
  EXPECT_EQ(decoded(png_file(3, 1, 16, testing::kPngGrey, {0, 0, 0x80, 0x80, 0xFF, 0xFF})).pixels, (Bytes{0, 0x80, 255}));
}

/// Of the conversion to YCbCr and back, and of the transform, at quality 100.
constexpr int kJpegError = 3;

void expect_near(const Bytes& found, const Bytes& wanted) {
  ASSERT_EQ(found.size(), wanted.size());
  for (std::size_t i = 0; i < found.size(); ++i) ASSERT_NEAR(found[i], wanted[i], kJpegError) << i;
}

TEST(Jpeg, FlatBlocksAreExactAndGradientsClose) {
  Bytes flat;  // 16 x 8: a block of 77 beside one of 200
  for (int i = 0; i < 16 * 8; ++i) flat.push_back(i % 16 < 8 ? 77 : 200);
  EXPECT_EQ(decoded(jpeg_file(16, 8, 1, flat)).pixels, flat);
  for (const bool is_progressive : {false, true}) {
    for (const unsigned channels : {1U, 3U}) {
      const Bytes smooth = gradient(21, 19, channels);
      const Bitmap bitmap = decoded(jpeg_file(21, 19, static_cast<int>(channels), smooth, {.is_progressive = is_progressive}));
      EXPECT_EQ(bitmap.height, 19);
      EXPECT_EQ(bitmap.width, 21);
      EXPECT_EQ(bitmap.channels, channels);
      expect_near(bitmap.pixels, smooth);
    }
  }
}

TEST(Jpeg, InksBecomeColours) {
  // As Adobe's programs store them: 255 is no ink. libjpeg says so in the file.
  const Bytes inks = {255, 255, 255, 255, 0, 255, 255, 255, 255, 0, 255, 128, 200, 100, 50, 0};
  Bytes blocks;  // each 8 x 8
  for (int y = 0; y < 8; ++y) {
    for (int x = 0; x < 32; ++x) blocks.insert(blocks.end(), inks.begin() + x / 8 * 4, inks.begin() + x / 8 * 4 + 4);
  }
  const Bitmap bitmap = decoded(jpeg_file(32, 8, 4, blocks));
  EXPECT_EQ(bitmap.channels, 3);
  const auto pixel = [&](std::size_t x) { return Bytes(bitmap.pixels.begin() + 3 * x, bitmap.pixels.begin() + 3 * x + 3); };
  expect_near(pixel(4), {255, 255, 255});
  expect_near(pixel(12), {0, 255, 255});
  expect_near(pixel(20), {128, 0, 128});
  expect_near(pixel(28), {0, 0, 0});
}

TEST(Jpeg, MayBeDecodedSmaller) {
  const Bytes smooth = gradient(50, 33, 3, 7);
  const Bytes file = jpeg_file(50, 33, 3, smooth);
  for (const int reduction : {2, 4, 8}) {
    const Bitmap bitmap = decoded(file, reduction);
    EXPECT_EQ(bitmap.height, (33 + reduction - 1) / reduction);
    EXPECT_EQ(bitmap.width, (50 + reduction - 1) / reduction);
  }
  // A block's mean is all that an eighth of it shows.
  const Bitmap eighth = decoded(jpeg_file(16, 8, 1, gradient(16, 8, 1)), 8);
  for (std::size_t block = 0; block < 2; ++block) {
    double mean = 0;
    for (std::size_t i = 0; i < 64; ++i) mean += gradient(16, 8, 1)[i / 8 * 16 + block * 8 + i % 8] / 64.0;
    EXPECT_NEAR(eighth.pixels[block], mean, 1);
  }
}

TEST(Jpeg, OdditiesThatLeaveTheImageWholeAreTolerated) {
  const Bytes smooth = gradient(16, 16, 1);
  Bytes file = jpeg_file(16, 16, 1, smooth);
  file[11] = 7;                            // JFIF 7.1
  file.insert(file.end() - 2, {1, 2, 3});  // before the end marker
  expect_near(decoded(file).pixels, smooth);
}

TEST(EncodedImage, CutFilesAreRefused) {
  const Bytes pixels = gradient(20, 20, 3);
  const Bytes jpeg = jpeg_file(20, 20, 3, pixels), progressive = jpeg_file(20, 20, 3, pixels, {.is_progressive = true});
  const Bytes png = png_file(20, 20, 8, testing::kPngRgb, pixels);
  constexpr std::size_t kEndOfPng = 12 + 4;  // the last chunk, and the checksum of the one before: no pixels are missing
  for (const auto& [file, tail] : {std::pair{jpeg, std::size_t{0}}, {progressive, std::size_t{0}}, {png, kEndOfPng}}) {
    for (std::size_t size = 0; size + tail < file.size(); ++size) {
      EXPECT_NE(refusal(Bytes(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size))), "") << size;
    }
  }
}

TEST(EncodedImage, ChangedBytesAreRefusedOrLeaveAnImageOfTheSizeThatIsClaimed) {
  const Bytes pixels = gradient(12, 9, 3);
  for (const Bytes& file : {jpeg_file(12, 9, 3, pixels), jpeg_file(12, 9, 3, pixels, {.is_progressive = true}),
                            png_file(12, 9, 8, testing::kPngRgb, pixels)}) {
    for (std::size_t i = 0; i < file.size(); ++i) {
      for (const std::uint8_t change : {0x01, 0x80, 0xFF}) {
        Bytes changed = file;
        changed[i] ^= change;
        try {
          const auto image = read_image_header(changed);
          if (image->height() * image->width() > 1 << 22) continue;  // sound, but slow
          const std::int64_t height = image->height(), width = image->width();
          const Bitmap bitmap = image->decode(1);
          ASSERT_EQ(bitmap.height, height);
          ASSERT_EQ(bitmap.width, width);
          ASSERT_EQ(static_cast<std::int64_t>(bitmap.pixels.size()), height * width * bitmap.channels);
        } catch (const DataError&) {
        }
      }
    }
  }
}

TEST(EncodedImage, DamagedPixelsOfAPngAreRefused) {
  const Bytes file = png_file(20, 20, 8, testing::kPngRgb, gradient(20, 20, 3));
  constexpr std::size_t kPixels = 8 + 25 + 8;  // behind signature, header chunk and the length and type of the pixels' chunk
  for (std::size_t i = kPixels; i < file.size() - 16; ++i) {
    Bytes changed = file;
    changed[i] ^= 0x04;
    EXPECT_NE(refusal(changed), "") << i;
  }
}

TEST(EncodedImage, AbsurdSizesAreRefusedBeforeAnythingIsAllocated) {
  EXPECT_NE(refusal(png_file(200000, 100000, 8, testing::kPngRgb, {})).find("100000 x 200000 pixels"), std::string::npos);
  EXPECT_NE(refusal(png_file(0x7FFFFFFF, 0x7FFFFFFF, 16, testing::kPngRgba, {})), "");
  Bytes jpeg = jpeg_file(8, 8, 1, gradient(8, 8, 1));
  for (std::size_t i = 0; i + 8 < jpeg.size(); ++i) {
    if (jpeg[i] != 0xFF || jpeg[i + 1] != 0xC0) continue;  // the frame's header: length, precision, height, width
    for (const std::size_t at : {5U, 6U, 7U, 8U}) jpeg[i + at] = 0xDC;
    break;
  }
  EXPECT_NE(refusal(jpeg).find("56540 x 56540 pixels"), std::string::npos) << refusal(jpeg);
}

TEST(EncodedImage, OtherFormatsAreToldByTheirFirstBytes) {
  EXPECT_EQ(refusal({'G', 'I', 'F', '8', '9', 'a', 1, 0, 1, 0}),
            "offset 0: found 47 49 46 38 39 61 01 00, wanted the beginning of a JPEG or PNG image");
  EXPECT_NE(refusal({}).find("found nothing"), std::string::npos);
}

}  // namespace
}  // namespace minim

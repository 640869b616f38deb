#include <fmt/format.h>
#include <png.h>

#include "data/encoded_image.h"
#include "minim/runtime/error.h"

namespace minim {
namespace {

/// libpng's simplified interface, which reports errors by values.
struct Reader {
  Reader() { image.version = PNG_IMAGE_VERSION; }
  ~Reader() { png_image_free(&image); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  png_image image = {};
};

class PngImage final : public EncodedImage {
 public:
  explicit PngImage(std::span<const std::uint8_t> bytes) {
    if (png_image_begin_read_from_memory(&image_, bytes.data(), bytes.size()) == 0) fail();
    check_size(image_.height, image_.width);
  }

  std::int64_t height() const override { return image_.height; }
  std::int64_t width() const override { return image_.width; }
  Bitmap decode(int /*reduction*/) override {
    const bool is_colour = (image_.format & PNG_FORMAT_FLAG_COLOR) != 0;
    image_.format = is_colour ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
    image_.flags |= PNG_IMAGE_FLAG_16BIT_sRGB;  // unless the file says otherwise
    Bitmap bitmap{.height = image_.height, .width = image_.width, .channels = is_colour ? 3 : 1, .pixels = {}};
    bitmap.pixels.resize(static_cast<std::size_t>(bitmap.height * bitmap.width * bitmap.channels));
    constexpr png_color kWhite = {255, 255, 255};
    if (png_image_finish_read(&image_, &kWhite, bitmap.pixels.data(), 0, nullptr) == 0) fail();
    return bitmap;
  }

 private:
  [[noreturn]] void fail() const { throw DataError(fmt::format("PNG: {}", image_.message)); }

  Reader reader_;
  png_image& image_ = reader_.image;
};

}  // namespace

std::unique_ptr<EncodedImage> read_png_header(std::span<const std::uint8_t> bytes) { return std::make_unique<PngImage>(bytes); }

}  // namespace minim

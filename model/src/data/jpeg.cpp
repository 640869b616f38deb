#include <fmt/format.h>

#include <csetjmp>
#include <cstdio>  // before jpeglib.h, which uses its types

#include <jpeglib.h>

#include <jerror.h>

#include "data/encoded_image.h"
#include "minim/runtime/error.h"

namespace minim {
namespace {

/// A progressive image of many scans takes long to decode; encoders make about ten.
constexpr int kMostScans = 100;

/// How libjpeg's errors come back: by a jump over its frames to the function that called it.
struct Errors {
  jpeg_error_mgr manager = {};  // first: libjpeg knows this part of it
  std::jmp_buf caller = {};
  char text[JMSG_LENGTH_MAX] = {};
};

Errors& errors_of(j_common_ptr info) { return *reinterpret_cast<Errors*>(info->err); }

[[noreturn]] void leave(j_common_ptr info) {
  Errors& errors = errors_of(info);
  errors.manager.format_message(info, errors.text);
  std::longjmp(errors.caller, 1);
}

/// libjpeg warns of damaged data and goes on with what it makes up: an error here, but for oddities of encoders that leave the
/// image whole.
void heed_warning(j_common_ptr info, int level) {
  const int code = info->err->msg_code;
  if (level >= 0 || code == JWRN_EXTRANEOUS_DATA || code == JWRN_JFIF_MAJOR || code == JWRN_ADOBE_XFORM) return;
  leave(info);
}

void limit_scans(j_common_ptr info) {
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number <= kMostScans) return;
  Errors& errors = errors_of(info);
  *fmt::format_to_n(errors.text, sizeof errors.text - 1, "more than {} scans", kMostScans).out = '\0';
  std::longjmp(errors.caller, 1);
}

/// C, M, Y and K as R, G and B. Adobe's programs store them inverted.
Bitmap rgb_of(const Bitmap& cmyk, bool is_inverted) {
  Bitmap rgb{.height = cmyk.height, .width = cmyk.width, .channels = 3, .pixels = {}};
  const std::size_t count = cmyk.pixels.size() / 4;
  rgb.pixels.resize(3 * count);
  const auto light = [is_inverted](std::uint8_t ink) { return is_inverted ? ink : 255 - ink; };
  for (std::size_t i = 0; i < count; ++i) {
    const int key = light(cmyk.pixels[4 * i + 3]);
    for (std::size_t c = 0; c < 3; ++c) {
      rgb.pixels[3 * i + c] = static_cast<std::uint8_t>((light(cmyk.pixels[4 * i + c]) * key + 127) / 255);
    }
  }
  return rgb;
}

struct Decompressor {
  Decompressor() = default;
  ~Decompressor() { jpeg_destroy_decompress(&info); }
  Decompressor(const Decompressor&) = delete;
  Decompressor& operator=(const Decompressor&) = delete;

  Errors errors;
  jpeg_progress_mgr progress = {};
  jpeg_decompress_struct info = {};
};

class JpegImage final : public EncodedImage {
 public:
  explicit JpegImage(std::span<const std::uint8_t> bytes) {
    if (!read_header(bytes)) fail();
    check_size(height(), width());
  }

  std::int64_t height() const override { return info_.image_height; }
  std::int64_t width() const override { return info_.image_width; }
  Bitmap decode(int reduction) override {
    if (!start(reduction)) fail();
    Bitmap bitmap{.height = info_.output_height, .width = info_.output_width, .channels = info_.output_components, .pixels = {}};
    bitmap.pixels.resize(static_cast<std::size_t>(bitmap.height * bitmap.width * bitmap.channels));
    if (!read_rows(bitmap.pixels.data())) fail();
    return info_.out_color_space == JCS_CMYK ? rgb_of(bitmap, info_.saw_Adobe_marker != 0) : bitmap;
  }

 private:
  // The functions that libjpeg may leave by a jump have no objects that would want to be destroyed.

  bool read_header(std::span<const std::uint8_t> bytes) {
    info_.err = jpeg_std_error(&decompressor_.errors.manager);
    info_.err->error_exit = leave;
    info_.err->emit_message = heed_warning;
    if (setjmp(decompressor_.errors.caller) != 0) return false;
    jpeg_create_decompress(&info_);
    decompressor_.progress.progress_monitor = limit_scans;
    info_.progress = &decompressor_.progress;
    jpeg_mem_src(&info_, bytes.data(), bytes.size());
    jpeg_read_header(&info_, TRUE);
    return true;
  }
  bool start(int reduction) {
    if (setjmp(decompressor_.errors.caller) != 0) return false;
    if (info_.jpeg_color_space == JCS_GRAYSCALE) {
      info_.out_color_space = JCS_GRAYSCALE;
    } else {
      info_.out_color_space = info_.num_components == 4 ? JCS_CMYK : JCS_RGB;
    }
    info_.scale_num = 1;
    info_.scale_denom = static_cast<unsigned>(reduction);
    jpeg_start_decompress(&info_);
    return true;
  }
  bool read_rows(JSAMPLE* pixels) {
    if (setjmp(decompressor_.errors.caller) != 0) return false;
    while (info_.output_scanline < info_.output_height) {
      JSAMPROW row = pixels + std::size_t{info_.output_scanline} * info_.output_width * info_.output_components;
      jpeg_read_scanlines(&info_, &row, 1);
    }
    jpeg_finish_decompress(&info_);
    return true;
  }
  [[noreturn]] void fail() const { throw DataError(fmt::format("JPEG: {}", decompressor_.errors.text)); }

  Decompressor decompressor_;
  jpeg_decompress_struct& info_ = decompressor_.info;
};

}  // namespace

std::unique_ptr<EncodedImage> read_jpeg_header(std::span<const std::uint8_t> bytes) { return std::make_unique<JpegImage>(bytes); }

}  // namespace minim

#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "data/bitmap.h"

namespace minim {

/// An image file in memory, of which the header has been read. What is wrong with it is thrown as DataError, without a name.
class EncodedImage {
 public:
  virtual ~EncodedImage() = default;
  virtual std::int64_t height() const = 0;
  virtual std::int64_t width() const = 0;
  /// Decodes it, once. A format that can do so for less work makes it smaller by the factor `reduction`, 1, 2, 4 or 8, rounded
  /// up; the others leave it as it is. Transparent pixels are seen before white.
  virtual Bitmap decode(int reduction) = 0;
};

/// Pixels that an image may have: a header that claims more is refused before anything is allocated for it.
inline constexpr std::int64_t kMostPixels = std::int64_t{1} << 26U;

/// A JPEG or PNG image, told by its first bytes. `bytes` must outlive it.
std::unique_ptr<EncodedImage> read_image_header(std::span<const std::uint8_t> bytes);

std::unique_ptr<EncodedImage> read_jpeg_header(std::span<const std::uint8_t> bytes);
std::unique_ptr<EncodedImage> read_png_header(std::span<const std::uint8_t> bytes);

/// Throws unless an image may be so large.
void check_size(std::int64_t height, std::int64_t width);

}  // namespace minim

#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace minim {

/// A decoded image: grey or RGB bytes.
struct Bitmap {
  std::int64_t height = 0, width = 0, channels = 0;
  std::vector<std::uint8_t> pixels;  ///< [height, width, channels]
};

/// Grey as RGB, or RGB as grey: ITU-R BT.601's luma, which is what a JPEG stores. `channels` is 1 or 3.
Bitmap with_channels(Bitmap bitmap, std::int64_t channels);

/// A rectangle of an image in pixels, not necessarily whole ones.
struct Window {
  double top = 0, left = 0, height = 0, width = 0;
  bool is_mirrored = false;  ///< seen from right to left
};

/// What a window shows, as `image` of [height, width, channels of the bitmap] in [0, 255]. Bilinear interpolation with
/// antialiasing: a triangle as wide as two pixels of the bitmap or of the image, whichever are larger; beside the window, not
/// beside the bitmap, there is more to see. As Pillow's resize(box=...), but for its rounding to bytes.
void resample(const Bitmap& bitmap, const Window& window, std::int64_t height, std::int64_t width, std::span<float> image);

}  // namespace minim

#include "data/encoded_image.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>

#include "minim/runtime/error.h"

namespace minim {
namespace {

constexpr std::array<std::uint8_t, 3> kJpegBeginning = {0xFF, 0xD8, 0xFF};
constexpr std::array<std::uint8_t, 8> kPngBeginning = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};

bool begins_with(std::span<const std::uint8_t> bytes, std::span<const std::uint8_t> beginning) {
  return bytes.size() >= beginning.size() && std::equal(beginning.begin(), beginning.end(), bytes.begin());
}

std::string first_bytes(std::span<const std::uint8_t> bytes) {
  std::string text;
  for (const std::uint8_t byte : bytes.first(std::min<std::size_t>(bytes.size(), 8))) text += fmt::format(" {:02x}", byte);
  return text.empty() ? " nothing" : text;
}

}  // namespace

std::unique_ptr<EncodedImage> read_image_header(std::span<const std::uint8_t> bytes) {
  if (begins_with(bytes, kJpegBeginning)) return read_jpeg_header(bytes);
  if (begins_with(bytes, kPngBeginning)) return read_png_header(bytes);
  throw DataError(fmt::format("offset 0: found{}, wanted the beginning of a JPEG or PNG image", first_bytes(bytes)));
}

void check_size(std::int64_t height, std::int64_t width) {
  if (height > 0 && width > 0 && height <= kMostPixels / width) return;
  throw DataError(fmt::format("the header claims {} x {} pixels, wanted 1 to {} in all", height, width, kMostPixels));
}

}  // namespace minim

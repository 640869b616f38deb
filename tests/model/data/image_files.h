#pragma once

#include <zlib.h>

#include <cstdio>  // before jpeglib.h, which uses its types
#include <cstdlib>
#include <string_view>
#include <utility>

#include <jpeglib.h>

#include "model/data/idx_files.h"

namespace minim::testing {

inline void append_chunk(Bytes& png, std::string_view type, const Bytes& data) {
  append_u32(png, static_cast<std::uint32_t>(data.size()));
  const std::size_t begin = png.size();
  png.insert(png.end(), type.begin(), type.end());
  png.insert(png.end(), data.begin(), data.end());
  append_u32(png, static_cast<std::uint32_t>(crc32(0, png.data() + begin, static_cast<unsigned>(png.size() - begin))));
}

inline Bytes deflated(const Bytes& bytes) {
  uLongf size = compressBound(bytes.size());
  Bytes result(size);
  compress(result.data(), &size, bytes.data(), bytes.size());
  result.resize(size);
  return result;
}

/// Colour types of PNG.
enum : std::uint8_t { kPngGrey = 0, kPngRgb = 2, kPngPalette = 3, kPngGreyAlpha = 4, kPngRgba = 6 };

/// A PNG file of `rows`, already packed to bytes, each behind a filter byte 0 here. `extra`: chunks before the pixels.
inline Bytes png_file(std::uint32_t width, std::uint32_t height, std::uint8_t depth, std::uint8_t colour_type, const Bytes& rows,
                      const std::vector<std::pair<std::string_view, Bytes>>& extra = {}) {
  Bytes png = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
  Bytes header;
  append_u32(header, width);
  append_u32(header, height);
  for (const std::uint8_t byte : {depth, colour_type, std::uint8_t{0}, std::uint8_t{0}, std::uint8_t{0}}) header.push_back(byte);
  append_chunk(png, "IHDR", header);
  for (const auto& [type, data] : extra) append_chunk(png, type, data);
  Bytes filtered;
  const std::size_t per_row = rows.size() / height;
  for (std::size_t y = 0; y < height && !rows.empty(); ++y) {
    filtered.push_back(0);
    const auto row = rows.begin() + static_cast<std::ptrdiff_t>(y * per_row);
    filtered.insert(filtered.end(), row, row + static_cast<std::ptrdiff_t>(per_row));
  }
  append_chunk(png, "IDAT", deflated(filtered));
  append_chunk(png, "IEND", {});
  return png;
}

struct JpegForm {
  int quality = 100;
  bool is_subsampled = false;  ///< colour at half the resolution
  bool is_progressive = false;
};

/// A JPEG file. Four channels: C, M, Y, K as they are stored.
inline Bytes jpeg_file(unsigned width, unsigned height, int channels, const Bytes& pixels, const JpegForm& form = {}) {
  jpeg_compress_struct info = {};
  jpeg_error_mgr errors = {};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* buffer = nullptr;
  unsigned long size = 0;  // NOLINT: libjpeg's type
  jpeg_mem_dest(&info, &buffer, &size);
  info.image_width = width;
  info.image_height = height;
  info.input_components = channels;
  info.in_color_space = channels == 1 ? JCS_GRAYSCALE : channels == 3 ? JCS_RGB : JCS_CMYK;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, form.quality, TRUE);
  if (!form.is_subsampled) info.comp_info[0].h_samp_factor = info.comp_info[0].v_samp_factor = 1;
  if (form.is_progressive) jpeg_simple_progression(&info);
  jpeg_start_compress(&info, TRUE);
  Bytes row(width * static_cast<unsigned>(channels));
  for (std::size_t y = 0; y < height; ++y) {
    std::copy_n(pixels.begin() + static_cast<std::ptrdiff_t>(y * row.size()), row.size(), row.begin());
    JSAMPROW pointer = row.data();
    jpeg_write_scanlines(&info, &pointer, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  Bytes file(buffer, buffer + size);
  std::free(buffer);
  return file;
}

/// A smooth image that differs everywhere.
inline Bytes gradient(unsigned width, unsigned height, unsigned channels, unsigned salt = 0) {
  Bytes pixels;
  for (unsigned y = 0; y < height; ++y) {
    for (unsigned x = 0; x < width; ++x) {
      for (unsigned c = 0; c < channels; ++c)
        pixels.push_back(static_cast<std::uint8_t>(40 + (3 * x + 2 * y + 50 * c + salt) % 160));
    }
  }
  return pixels;
}

}  // namespace minim::testing

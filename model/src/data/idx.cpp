#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <vector>

#include "minim/model/data/dataset.h"

namespace minim {
namespace {

namespace fs = std::filesystem;

/// IDX magic numbers: 0, 0, element type 8 (unsigned byte), number of dimensions.
constexpr std::uint32_t kImagesMagic = 0x00000803;
constexpr std::uint32_t kLabelsMagic = 0x00000801;

/// Deflate cannot do better than this (zlib's technical notes), so a header that claims more lies, and nothing is allocated for
/// it.
constexpr std::int64_t kLargestCompressionRatio = 1032;

/// A file of bytes, gzip-compressed or not, read from front to back. Offsets count uncompressed bytes.
class ByteSource {
 public:
  explicit ByteSource(fs::path path) : path_(std::move(path)) {
    std::error_code failure;
    size_bytes_ = static_cast<std::int64_t>(fs::file_size(path_, failure));
    if (failure) throw DataError(fmt::format("{}: cannot be read: {}", path_.string(), failure.message()));
    if (size_bytes_ == 0) throw DataError(fmt::format("{}: offset 0: the file is empty, wanted an IDX header", path_.string()));
    file_ = gzopen(path_.c_str(), "rb");
    if (file_ == nullptr) throw DataError(fmt::format("{}: cannot be opened: {}", path_.string(), std::strerror(errno)));
  }
  ~ByteSource() { gzclose_r(file_); }
  ByteSource(const ByteSource&) = delete;
  ByteSource& operator=(const ByteSource&) = delete;

  /// Fills `out` or throws, saying that `what` was wanted there.
  void read(std::span<std::uint8_t> out, const std::string& what) {
    const std::int64_t begin = offset_;
    const std::int64_t found = read_up_to(out);
    if (found == static_cast<std::int64_t>(out.size())) return;
    int code = Z_OK;
    gzerror(file_, &code);
    fail(offset_, fmt::format("{} ends here, {} bytes into {} of {} bytes", code == Z_BUF_ERROR ? "the gzip stream" : "the file",
                              offset_ - begin, what, out.size()));
  }

  /// Big-endian, as everything in IDX.
  std::uint32_t read_u32(const std::string& what) {
    std::array<std::uint8_t, 4> b{};
    read(b, what);
    return std::uint32_t{b[0]} << 24U | std::uint32_t{b[1]} << 16U | std::uint32_t{b[2]} << 8U | std::uint32_t{b[3]};
  }

  /// Throws unless all has been read; only here does zlib see gzip's own checksum and length.
  void expect_end(const std::string& what) {
    std::array<std::uint8_t, 1> byte{};
    const std::int64_t end = offset_;
    if (read_up_to(byte) != 0) fail(end, fmt::format("more bytes follow, wanted the end of the file after {}", what));
    int code = Z_OK;
    const char* text = gzerror(file_, &code);
    if (code != Z_OK && code != Z_STREAM_END) fail(end, fmt::format("gzip: {}", text));
  }

  /// Bytes that the file can hold at most.
  std::int64_t largest_content_bytes() const {
    return gzdirect(file_) != 0 ? size_bytes_ : size_bytes_ * kLargestCompressionRatio;
  }
  std::int64_t size_bytes() const { return size_bytes_; }
  bool compressed() const { return gzdirect(file_) == 0; }
  std::int64_t offset() const { return offset_; }

  [[noreturn]] void fail(std::int64_t offset, const std::string& text) const {
    throw DataError(fmt::format("{}: offset {}: {}", path_.string(), offset, text));
  }

 private:
  std::int64_t read_up_to(std::span<std::uint8_t> out) {
    constexpr std::size_t kChunk = std::size_t{1} << 24U;  // gzread takes an unsigned int
    std::size_t done = 0;
    while (done < out.size()) {
      const int count = gzread(file_, out.data() + done, static_cast<unsigned>(std::min(kChunk, out.size() - done)));
      if (count < 0) fail_read();
      if (count == 0) break;
      done += static_cast<std::size_t>(count);
      offset_ += count;
    }
    return static_cast<std::int64_t>(done);
  }
  [[noreturn]] void fail_read() const {
    int code = Z_OK;
    const char* text = gzerror(file_, &code);
    if (code == Z_ERRNO) fail(offset_, fmt::format("cannot be read: {}", std::strerror(errno)));
    fail(offset_, fmt::format("not valid gzip data: {}", text));
  }

  fs::path path_;
  gzFile file_ = nullptr;
  std::int64_t size_bytes_ = 0;
  std::int64_t offset_ = 0;
};

void expect_magic(ByteSource& source, std::uint32_t wanted, const std::string& what) {
  const std::uint32_t found = source.read_u32("the magic number");
  if (found != wanted) {
    source.fail(0, fmt::format("found magic number 0x{:08x}, wanted 0x{:08x} ({}) behind {}", found, wanted, what,
                               source.compressed() ? "gzip compression" : "no gzip header"));
  }
}

std::int64_t read_extent(ByteSource& source, const std::string& what) {
  const std::int64_t offset = source.offset();
  const std::int64_t extent = source.read_u32("the " + what);
  if (extent == 0) source.fail(offset, fmt::format("the {} is 0, wanted at least 1", what));
  return extent;
}

/// Reads the rest of the file as elements of the claimed size, after checking that so many can be there at all.
std::vector<std::uint8_t> read_elements(ByteSource& source, std::int64_t count, std::int64_t bytes_each,
                                        const std::string& what) {
  std::int64_t wanted = 0;
  if (__builtin_mul_overflow(count, bytes_each, &wanted) || wanted > source.largest_content_bytes()) {
    source.fail(source.offset(), fmt::format("the header claims {} {} of {} bytes, but the file has {} bytes", count, what,
                                             bytes_each, source.size_bytes()));
  }
  std::vector<std::uint8_t> elements(static_cast<std::size_t>(wanted));
  const auto all = fmt::format("{} {}", count, what);
  source.read(elements, all);
  source.expect_end(all);
  return elements;
}

struct Images {
  fs::path path;
  std::int64_t count = 0, height = 0, width = 0;
  std::vector<std::uint8_t> pixels;
};

Images read_images(const fs::path& path) {
  ByteSource source(path);
  expect_magic(source, kImagesMagic, "images of unsigned bytes");
  Images images;
  images.path = path;
  images.count = read_extent(source, "number of images");
  images.height = read_extent(source, "number of rows");
  images.width = read_extent(source, "number of columns");
  // Both below 2^32, so their product fits but for the last bit.
  if (images.height > INT64_MAX / images.width) source.fail(8, "the size of an image overflows 64 bits");
  images.pixels = read_elements(source, images.count, images.height * images.width, "images");
  return images;
}

std::vector<std::uint8_t> read_labels(const fs::path& path, const Images& images, std::int64_t classes) {
  ByteSource source(path);
  expect_magic(source, kLabelsMagic, "labels of one unsigned byte");
  const std::int64_t count = read_extent(source, "number of labels");
  if (count != images.count) {
    source.fail(4, fmt::format("{} labels, but {} has {} images", count, images.path.string(), images.count));
  }
  auto labels = read_elements(source, count, 1, "labels");
  const auto bad = std::find_if(labels.begin(), labels.end(), [classes](std::uint8_t label) { return label >= classes; });
  if (bad != labels.end()) {
    source.fail(8 + (bad - labels.begin()), fmt::format("found label {}, wanted one in [0, {})", int{*bad}, classes));
  }
  return labels;
}

fs::path find_file(const fs::path& directory, const std::string& name, const std::string& purpose) {
  std::error_code failure;
  const fs::file_status found = fs::status(directory, failure);
  if (found.type() == fs::file_type::none) {
    throw DataError(fmt::format("{}: cannot be read: {}", directory.string(), failure.message()));
  }
  if (!fs::is_directory(found)) {
    throw DataError(
        fmt::format("{}: no such directory; wanted one with {} or {}.gz ({})", directory.string(), name, name, purpose));
  }
  for (const char* suffix : {"", ".gz"}) {
    auto path = directory / (name + suffix);
    // What cannot be looked at is tried, and says why.
    if (fs::status(path, failure).type() != fs::file_type::not_found) return path;
  }
  throw DataError(fmt::format("{}: has neither {} nor {}.gz ({})", directory.string(), name, name, purpose));
}

/// What each pixel value becomes: (v / 255 - mean) / deviation over all pixels of the images, computed exactly from their
/// histogram.
std::array<float, 256> normalisation(const Images& images) {
  std::array<std::int64_t, 256> histogram{};
  for (const std::uint8_t pixel : images.pixels) ++histogram[pixel];
  const auto count = static_cast<double>(images.pixels.size());
  double mean = 0;
  for (int v = 0; v < 256; ++v) mean += v / 255.0 * static_cast<double>(histogram[v]) / count;
  double variance = 0;
  for (int v = 0; v < 256; ++v) variance += (v / 255.0 - mean) * (v / 255.0 - mean) * static_cast<double>(histogram[v]) / count;
  const double deviation = variance > 0 ? std::sqrt(variance) : 1.0;  // images of one colour stay finite
  std::array<float, 256> table{};
  for (int v = 0; v < 256; ++v) table[v] = static_cast<float>((v / 255.0 - mean) / deviation);
  return table;
}

class IdxDataset final : public Dataset {
 public:
  IdxDataset(Images images, std::vector<std::uint8_t> labels, std::array<float, 256> table, std::int64_t classes)
      : images_(std::move(images)), labels_(std::move(labels)), table_(table), classes_(classes) {}

  std::int64_t size() const override { return images_.count; }
  ImageTask task() const override {
    return {.height = images_.height, .width = images_.width, .channels = 1, .classes = classes_};
  }
  std::int32_t read(std::int64_t index, std::span<float> image) const override {
    const auto elements = static_cast<std::size_t>(images_.height * images_.width);
    if (index < 0 || index >= size() || image.size() != elements) {
      throw InvalidArgument(fmt::format("{}: image {} into {} floats was asked for, there are {} images of {} pixels",
                                        images_.path.string(), index, image.size(), size(), elements));
    }
    const std::uint8_t* pixels = images_.pixels.data() + static_cast<std::size_t>(index) * elements;
    for (std::size_t i = 0; i < elements; ++i) image[i] = table_[pixels[i]];
    return labels_[static_cast<std::size_t>(index)];
  }

 private:
  Images images_;
  std::vector<std::uint8_t> labels_;
  std::array<float, 256> table_;
  std::int64_t classes_;
};

}  // namespace

std::unique_ptr<Dataset> open_idx(const fs::path& directory, Split split, std::int64_t classes) {
  const std::string prefix = split == Split::train ? "train" : "t10k";
  const auto labels_path = find_file(directory, prefix + "-labels-idx1-ubyte", "labels");
  auto images = read_images(find_file(directory, prefix + "-images-idx3-ubyte", "images"));
  auto labels = read_labels(labels_path, images, classes);
  if (split == Split::train) {
    const auto table = normalisation(images);
    return std::make_unique<IdxDataset>(std::move(images), std::move(labels), table, classes);
  }
  const Images training = read_images(find_file(directory, "train-images-idx3-ubyte", "images that give mean and deviation"));
  if (training.height != images.height || training.width != images.width) {
    throw DataError(fmt::format("{}: offset 8: images of {} x {}, but those of {} are {} x {}", images.path.string(),
                                images.height, images.width, training.path.string(), training.height, training.width));
  }
  return std::make_unique<IdxDataset>(std::move(images), std::move(labels), normalisation(training), classes);
}

}  // namespace minim

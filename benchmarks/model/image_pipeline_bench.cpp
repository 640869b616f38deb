// Photos from an image folder to batches: reading, decoding, a random part resampled to 224 x 224, rounded to FP16; by threads
// that read ahead.
//
// Bound: decoding. JPEG's entropy coding and transforms are the work that cannot be left out, and libjpeg-turbo does it as well
// as it can be done. The yardstick is decoding alone of the same files, from memory, by as many threads; the two alternate, and
// the ratio of their rates is taken pair by pair.
//
//   image_pipeline_bench [--short] [--threads N] [--data DIR] [--json FILE]
//
// --threads: the largest number, doubled from 1 on. --data: an image folder; by default 500 x 375 JPEG files of quality 90, whose
// detail is noise, are made.

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "data/encoded_image.h"
#include "minim/model/data/loader.h"
#include "model/data/image_files.h"
#include "scratch_directory.h"

namespace minim {
namespace {

namespace fs = std::filesystem;
using testing::Bytes;

constexpr std::int64_t kBatch = 32;

struct Options {
  bool brief = false;
  int threads = 1;
  fs::path data;
  std::string json;
};

/// A gradient under noise, so that a file has about as many bytes a pixel as a photo.
Bytes made_up_photo(unsigned salt) {
  constexpr unsigned kWidth = 500, kHeight = 375;
  Bytes pixels = testing::gradient(kWidth, kHeight, 3, salt);
  std::uint32_t state = salt;
  for (std::uint8_t& pixel : pixels) {
    state = state * 1664525 + 1013904223;  // Numerical Recipes' generator
    pixel = static_cast<std::uint8_t>(pixel + (state >> 28U));
  }
  return testing::jpeg_file(kWidth, kHeight, 3, pixels, {.quality = 90, .is_subsampled = true});
}

void make_folder(const fs::path& directory, unsigned images) {
  fs::create_directories(directory / "train" / "photo");
  for (unsigned i = 0; i < images; ++i)
    testing::write_raw(directory / "train/photo" / fmt::format("{}.jpg", i), made_up_photo(i));
}

/// Of the first so many files of the training images.
std::vector<Bytes> files_of(const fs::path& directory, std::size_t most) {
  std::vector<Bytes> files;
  for (const auto& entry : fs::recursive_directory_iterator(directory / "train")) {
    if (entry.is_regular_file() && files.size() < most) files.push_back(testing::read_raw(entry.path()));
  }
  return files;
}

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// Images a second of a loader that has begun.
double pipeline_rate(TrainingLoader& loader, int batches) {
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < batches; ++i) {
    const Batch& batch = loader.next();
    if (!batch.error.empty()) throw DataError(batch.error);
  }
  return static_cast<double>(batches * kBatch) / seconds_since(begin);
}

/// Images a second of decoding alone.
double decoding_rate(const std::vector<Bytes>& files, int images, int threads) {
  const auto begin = std::chrono::steady_clock::now();
  {
    std::vector<std::jthread> workers;
    for (int t = 0; t < threads; ++t) {
      workers.emplace_back([&, t] {
        for (int i = t; i < images; i += threads) read_image_header(files[static_cast<std::size_t>(i) % files.size()])->decode(1);
      });
    }
  }
  return images / seconds_since(begin);
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

/// Batches do not depend on the threads that read them.
bool is_the_same_with_threads(const Dataset& dataset, Backend& backend, int threads) {
  TrainingLoader one(dataset, backend, {.batch = 8, .dtype = DType::fp16});
  TrainingLoader several(dataset, backend, {.batch = 8, .dtype = DType::fp16, .threads = threads});
  for (int i = 0; i < 2; ++i) {
    const auto a = one.next().images.view().span<Half>(), b = several.next().images.view().span<Half>();
    if (!std::equal(a.begin(), a.end(), b.begin(), [](Half x, Half y) { return to_float(x) == to_float(y); })) return false;
  }
  return true;
}

int run(const Options& options) {
  const testing::ScratchDirectory scratch;
  fs::path directory = options.data;
  if (directory.empty()) {
    directory = scratch.path();
    make_folder(directory, options.brief ? 8 : 128);
  }
  const auto dataset = open_image_folder(directory, Split::train, {.augment = Augment::crop_flip});
  const auto files = files_of(directory, 256);
  const auto backend = make_reference_backend();
  if (!is_the_same_with_threads(*dataset, *backend, options.threads + 1)) {
    std::cerr << "image_pipeline_bench: several threads read other batches than one\n";
    return EXIT_FAILURE;
  }
  std::int64_t size_bytes = 0;
  for (const Bytes& file : files) size_bytes += static_cast<std::int64_t>(file.size());
  std::cout << fmt::format("{} photos of {} KB to 224 x 224 x 3 in FP16, batch {}\n", dataset->size(),
                           size_bytes / static_cast<std::int64_t>(files.size()) / 1000, kBatch);
  std::string records;
  const int pairs = options.brief ? 1 : 9;
  const int batches = options.brief ? 1 : 8;
  for (int threads = 1; threads <= options.threads; threads *= 2) {
    TrainingLoader loader(*dataset, *backend, {.batch = kBatch, .dtype = DType::fp16, .threads = threads, .depth = 1});
    pipeline_rate(loader, 2);
    std::vector<double> pipeline, decoding, ratios;
    for (int pair = 0; pair < pairs; ++pair) {
      pipeline.push_back(pipeline_rate(loader, batches));
      decoding.push_back(decoding_rate(files, batches * static_cast<int>(kBatch), threads));
      ratios.push_back(pipeline.back() / decoding.back());
    }
    const auto [lowest, highest] = std::ranges::minmax(ratios);
    std::cout << fmt::format(
        "{:3} thread{}  pipeline {:7.0f} images/s   decoding alone {:7.0f} images/s   ratio {:.2f} ({:.2f} to {:.2f})\n", threads,
        threads == 1 ? " " : "s", median(pipeline), median(decoding), median(ratios), lowest, highest);
    records +=
        fmt::format(R"({}{{"threads": {}, "pipeline_images_per_s": {:.1f}, "decoding_images_per_s": {:.1f}, "ratio": {:.3f}}})",
                    records.empty() ? "" : ", ", threads, median(pipeline), median(decoding), median(ratios));
  }
  if (!options.json.empty()) {
    std::ofstream file(options.json);
    file << fmt::format(R"({{"benchmark": "image pipeline", "by_threads": [{}]}})", records) << '\n';
    if (!file.flush()) {
      std::cerr << fmt::format("image_pipeline_bench: cannot write \"{}\"\n", options.json);
      return EXIT_FAILURE;
    }
  }
  return EXIT_SUCCESS;
}

int main_of(std::vector<std::string_view> arguments) {
  Options options;
  options.threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const bool has_value = i + 1 < arguments.size();
    if (arguments[i] == "--short") {
      options.brief = true;
      options.threads = 2;
    } else if (arguments[i] == "--threads" && has_value) {
      options.threads = std::stoi(std::string(arguments[++i]));
    } else if (arguments[i] == "--data" && has_value) {
      options.data = arguments[++i];
    } else if (arguments[i] == "--json" && has_value) {
      options.json = arguments[++i];
    } else {
      std::cerr << "usage: image_pipeline_bench [--short] [--threads N] [--data DIR] [--json FILE]\n";
      return EXIT_FAILURE;
    }
  }
  return run(options);
}

}  // namespace
}  // namespace minim

int main(int argc, char** argv) { return minim::main_of({argv + 1, argv + argc}); }

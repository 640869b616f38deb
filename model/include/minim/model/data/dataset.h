#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "minim/model/zoo.h"

namespace minim {

/// Labelled images with random access. Safe to read from several threads.
class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual std::int64_t size() const = 0;
  virtual ImageTask task() const = 0;
  /// Writes image `index` as [H, W, C] floats, normalised, and returns its label. Throws DataError.
  virtual std::int32_t read(std::int64_t index, std::span<float> image) const = 0;
};

enum class Split : std::uint8_t { train, test };

/// IDX files as MNIST and Fashion-MNIST come: `{train,t10k}-{images-idx3,labels-idx1}-ubyte`, gzip-compressed (.gz) or not.
/// Pixels are scaled to [0, 1] and normalised with the mean and deviation of the training images, for the test split too.
/// All of it is decoded into memory, as bytes. Throws DataError that names file, offset (in the uncompressed data) and what was
/// found and wanted there.
std::unique_ptr<Dataset> open_idx(const std::filesystem::path& directory, Split split, std::int64_t classes = 10);

/// Images whose class shows: a fixed random pattern per class under noise. Made from (seed, index); train and test differ.
std::unique_ptr<Dataset> make_synthetic(const ImageTask& task, std::int64_t size, std::uint64_t seed, Split split);

/// Opens a data set by name: "fashion-mnist" and "mnist" (IDX in `directory`; for fashion-mnist it defaults to where Debian's
/// package dataset-fashion-mnist puts it) or "synthetic" (28 x 28 x 1, 10 classes, no directory). Throws InvalidArgument for
/// unknown names, DataError as `open_idx`.
std::unique_ptr<Dataset> open_dataset(const std::string& name, const std::filesystem::path& directory, Split split);

}  // namespace minim

#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "minim/model/zoo.h"
#include "minim/runtime/memory.h"

namespace minim {

/// A training sample: its random numbers depend on this and on nothing else.
struct SampleKey {
  std::uint64_t seed = 0;
  std::int64_t position = 0;  ///< in the stream of samples, see SampleStream
};

/// Labelled images with random access. Safe to read from several threads.
class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual std::int64_t size() const = 0;
  virtual ImageTask task() const = 0;
  /// Writes image `index` as [H, W, C] floats, normalised, and returns its label. Throws DataError.
  virtual std::int32_t read(std::int64_t index, std::span<float> image) const = 0;
  /// As `read`, for training: the image is changed at random where the data set was opened so. The same for the same key.
  virtual std::int32_t read_augmented(std::int64_t index, const SampleKey& /*key*/, std::span<float> image) const {
    return read(index, image);
  }
};

enum class Split : std::uint8_t { train, test };

/// How training images are changed at random. `crop_flip`: mirrored or not, and, where images are small and of one size, moved
/// by up to 4 pixels each way, what comes in from outside being the mean, 0 (He et al., "Deep residual learning for image
/// recognition", section 4.2); of photos a part.
enum class Augment : std::uint8_t { none, crop_flip };

/// IDX files as MNIST and Fashion-MNIST come: `{train,t10k}-{images-idx3,labels-idx1}-ubyte`, gzip-compressed (.gz) or not.
/// Pixels are scaled to [0, 1] and normalised with the mean and deviation of the training images, for the test split too.
/// All of it is decoded into memory, as bytes. Throws DataError that names file, offset (in the uncompressed data) and what was
/// found and wanted there.
std::unique_ptr<Dataset> open_idx(const std::filesystem::path& directory, Split split, Augment augment = Augment::none,
                                  std::int64_t classes = 10);

/// CIFAR-10 in its binary version: `data_batch_{1,...,5}.bin` and `test_batch.bin`, records of a label and a 32 x 32 image. Read,
/// normalised, by channel, and refused as IDX files are.
std::unique_ptr<Dataset> open_cifar10(const std::filesystem::path& directory, Split split, Augment augment = Augment::none);

/// CIFAR-100 in its binary version: `train.bin` and `test.bin`, whose records have a coarse label before the fine one, which is
/// what is learnt.
std::unique_ptr<Dataset> open_cifar100(const std::filesystem::path& directory, Split split, Augment augment = Augment::none);

struct PhotoOptions {
  std::int64_t size = 224;    ///< height and width of what a network sees of a photo
  std::int64_t channels = 3;  ///< or 1: grey
  Augment augment = Augment::none;
  /// Decoded images are kept in so many bytes of the host's memory, booked in `account`, if there is one.
  std::int64_t cache_bytes = 0;
  std::shared_ptr<MemoryAccount> account = nullptr;
};

/// JPEG and PNG images, `train/CLASS/FILE` and `val/CLASS/FILE` (or `test/...`), classes in the order of their names. Decoded
/// when they are read: in evaluation the middle of the image, in training, where that is augmented, a random part (Szegedy et
/// al., "Going deeper with convolutions", section 6), resampled with antialiasing and normalised with the mean and deviation of
/// ImageNet's training images. Throws DataError that names the file or directory, `read` also for an image that is damaged.
std::unique_ptr<Dataset> open_image_folder(const std::filesystem::path& directory, Split split, const PhotoOptions& options);

/// JPEG and PNG images in tar archives as WebDataset has them, `train-*.tar` and `val-*.tar` (or `test-*.tar`): for each image a
/// label, a number, in KEY.cls beside KEY.jpg or KEY.png. There are as many classes as the largest label of the training images
/// says. Headers are read at opening, images when they are asked for; in any order, as those of an image folder, and seen alike.
std::unique_ptr<Dataset> open_webdataset(const std::filesystem::path& directory, Split split, const PhotoOptions& options);

/// Images whose class shows: a fixed random pattern per class under noise. Made from (seed, index); train and test differ.
std::unique_ptr<Dataset> make_synthetic(const ImageTask& task, std::int64_t size, std::uint64_t seed, Split split);

struct DatasetOptions {
  std::string name;                 ///< fashion-mnist, mnist, cifar-10, cifar-100, image-folder, webdataset or synthetic
  std::filesystem::path directory;  ///< of its files
  Augment augment = Augment::none;  ///< not of synthetic images
  std::int64_t image_size = 224;    ///< of photos, as in PhotoOptions
  std::int64_t channels = 3;        ///< likewise
  std::int64_t cache_bytes = 0;     ///< likewise
  std::shared_ptr<MemoryAccount> account = nullptr;  ///< likewise
};

/// Opens a data set by name. "synthetic" (28 x 28 x 1, 10 classes) has no directory, that of "fashion-mnist" defaults to where
/// Debian's package dataset-fashion-mnist puts it. Throws InvalidArgument for unknown names, DataError as the functions above.
std::unique_ptr<Dataset> open_dataset(const DatasetOptions& options, Split split);

}  // namespace minim

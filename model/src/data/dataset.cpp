#include "minim/model/data/dataset.h"

#include <fmt/format.h>

#include <map>

namespace minim {
namespace {

constexpr const char* kFashionMnistDirectory = "/usr/share/datasets/fashion-mnist";  // of Debian's dataset-fashion-mnist

constexpr std::int64_t kSyntheticTrainSize = 8192;
constexpr std::int64_t kSyntheticTestSize = 2048;
constexpr std::uint64_t kSyntheticSeed = 1;

std::unique_ptr<Dataset> open_fashion_mnist(const std::filesystem::path& directory, Split split, Augment augment) {
  if (!directory.empty()) return open_idx(directory, split, augment);
  std::error_code ignored;
  if (!std::filesystem::is_directory(kFashionMnistDirectory, ignored)) {
    throw DataError(
        fmt::format("{}: no such directory; install Debian's package dataset-fashion-mnist or name a directory with --data DIR",
                    kFashionMnistDirectory));
  }
  return open_idx(kFashionMnistDirectory, split, augment);
}

PhotoOptions photo_options(const DatasetOptions& options) {
  return {.size = options.image_size,
          .channels = options.channels,
          .augment = options.augment,
          .cache_bytes = options.cache_bytes,
          .account = options.account};
}

}  // namespace

std::unique_ptr<Dataset> open_dataset(const DatasetOptions& options, Split split) {
  const std::string& name = options.name;
  if (name == "synthetic") {
    if (options.augment != Augment::none) throw InvalidArgument("synthetic images are not augmented");
    return make_synthetic(ImageTask{}, split == Split::train ? kSyntheticTrainSize : kSyntheticTestSize, kSyntheticSeed, split);
  }
  if (name == "fashion-mnist") return open_fashion_mnist(options.directory, split, options.augment);
  using Open = std::unique_ptr<Dataset> (*)(const DatasetOptions&, Split);
  static const std::map<std::string, Open, std::less<>> known = {
      {"mnist", [](const auto& o, Split which) { return open_idx(o.directory, which, o.augment); }},
      {"cifar-10", [](const auto& o, Split which) { return open_cifar10(o.directory, which, o.augment); }},
      {"cifar-100", [](const auto& o, Split which) { return open_cifar100(o.directory, which, o.augment); }},
      {"image-folder", [](const auto& o, Split which) { return open_image_folder(o.directory, which, photo_options(o)); }},
      {"webdataset", [](const auto& o, Split which) { return open_webdataset(o.directory, which, photo_options(o)); }}};
  const auto found = known.find(name);
  if (found == known.end()) {
    throw InvalidArgument(fmt::format(
        "unknown data set \"{}\", wanted fashion-mnist, mnist, cifar-10, cifar-100, image-folder, webdataset or synthetic",
        name));
  }
  if (options.directory.empty()) {
    throw InvalidArgument(fmt::format("data set \"{}\" has no default directory; name one with --data DIR", name));
  }
  return found->second(options, split);
}

}  // namespace minim

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

}  // namespace

std::unique_ptr<Dataset> open_dataset(const DatasetOptions& options, Split split) {
  const auto& [name, directory, augment] = options;
  if (name == "synthetic") {
    if (augment != Augment::none) throw InvalidArgument("synthetic images are not augmented");
    return make_synthetic(ImageTask{}, split == Split::train ? kSyntheticTrainSize : kSyntheticTestSize, kSyntheticSeed, split);
  }
  if (name == "fashion-mnist") return open_fashion_mnist(directory, split, augment);
  using Open = std::unique_ptr<Dataset> (*)(const std::filesystem::path&, Split, Augment);
  static const std::map<std::string, Open, std::less<>> known = {
      {"mnist", [](const auto& files, Split which, Augment how) { return open_idx(files, which, how); }},
      {"cifar-10", open_cifar10},
      {"cifar-100", open_cifar100}};
  const auto found = known.find(name);
  if (found == known.end()) {
    throw InvalidArgument(
        fmt::format("unknown data set \"{}\", wanted fashion-mnist, mnist, cifar-10, cifar-100 or synthetic", name));
  }
  if (directory.empty()) {
    throw InvalidArgument(fmt::format("data set \"{}\" has no default directory; name one with --data DIR", name));
  }
  return found->second(directory, split, augment);
}

}  // namespace minim

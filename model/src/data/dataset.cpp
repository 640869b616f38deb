#include "minim/model/data/dataset.h"

#include <fmt/format.h>

namespace minim {
namespace {

constexpr const char* kFashionMnistDirectory = "/usr/share/datasets/fashion-mnist";  // of Debian's dataset-fashion-mnist

constexpr std::int64_t kSyntheticTrainSize = 8192;
constexpr std::int64_t kSyntheticTestSize = 2048;
constexpr std::uint64_t kSyntheticSeed = 1;

}  // namespace

std::unique_ptr<Dataset> open_dataset(const std::string& name, const std::filesystem::path& directory, Split split) {
  if (name == "synthetic") {
    return make_synthetic(ImageTask{}, split == Split::train ? kSyntheticTrainSize : kSyntheticTestSize, kSyntheticSeed, split);
  }
  if (name == "mnist") {
    if (directory.empty()) throw InvalidArgument("data set \"mnist\" has no default directory; name one with --data DIR");
    return open_idx(directory, split);
  }
  if (name == "fashion-mnist") {
    if (!directory.empty()) return open_idx(directory, split);
    std::error_code ignored;
    if (!std::filesystem::is_directory(kFashionMnistDirectory, ignored)) {
      throw DataError(
          fmt::format("{}: no such directory; install Debian's package dataset-fashion-mnist or name a directory with --data DIR",
                      kFashionMnistDirectory));
    }
    return open_idx(kFashionMnistDirectory, split);
  }
  throw InvalidArgument(fmt::format("unknown data set \"{}\", wanted fashion-mnist, mnist or synthetic", name));
}

}  // namespace minim

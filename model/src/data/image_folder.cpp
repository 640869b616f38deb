#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "data/directory_entries.h"
#include "data/encoded_source.h"
#include "data/random_access_file.h"

namespace minim {
namespace {

namespace fs = std::filesystem;

bool has_name_of_image(const fs::path& path) {
  const std::string extension = path.extension().string();
  return !extension.empty() && is_image_extension(extension.substr(1));
}

std::vector<std::string> classes_of(const fs::path& directory) {
  std::vector<std::string> classes;
  std::error_code ignored;
  for (const auto& entry : entries_of(directory)) {
    if (entry.is_directory(ignored)) classes.push_back(entry.path().filename().string());
  }
  if (classes.empty()) {
    throw DataError(fmt::format("{}: has no directories, wanted one for each class of images", directory.string()));
  }
  return classes;
}

struct File {
  std::int32_t label;
  std::string name;
};

class FolderSource final : public EncodedSource {
 public:
  /// `classes` in order; each need not have a directory in `root`, but there are no others.
  FolderSource(fs::path root, std::vector<std::string> classes) : root_(std::move(root)), classes_(std::move(classes)) {
    for (const std::string& name : classes_of(root_)) {
      const auto found = std::lower_bound(classes_.begin(), classes_.end(), name);
      if (found == classes_.end() || *found != name) {
        throw DataError(fmt::format("{}: is no class of the training images", (root_ / name).string()));
      }
      add_files(static_cast<std::int32_t>(found - classes_.begin()));
    }
  }

  std::int64_t size() const override { return static_cast<std::int64_t>(files_.size()); }
  std::int64_t classes() const override { return static_cast<std::int64_t>(classes_.size()); }
  std::int32_t label(std::int64_t index) const override { return file(index).label; }
  std::string name(std::int64_t index) const override { return path(index).string(); }
  std::vector<std::uint8_t> read(std::int64_t index) const override {
    const RandomAccessFile file(path(index));
    if (file.size_bytes() > kMostImageFileBytes) {
      file.fail(0, fmt::format("{} bytes, wanted an image of at most {}", file.size_bytes(), kMostImageFileBytes));
    }
    std::vector<std::uint8_t> bytes(static_cast<std::size_t>(file.size_bytes()));
    file.read(0, bytes, "an image");
    return bytes;
  }

 private:
  void add_files(std::int32_t label) {
    const std::size_t before = files_.size();
    const fs::path directory = root_ / classes_[static_cast<std::size_t>(label)];
    for (const auto& entry : entries_of(directory)) {
      if (!has_name_of_image(entry.path())) {
        throw DataError(fmt::format("{}: found beside images, wanted only names in .jpg, .jpeg or .png", entry.path().string()));
      }
      files_.push_back({label, entry.path().filename().string()});
    }
    if (files_.size() == before) throw DataError(fmt::format("{}: has no images", directory.string()));
  }
  const File& file(std::int64_t index) const { return files_[static_cast<std::size_t>(index)]; }
  fs::path path(std::int64_t index) const {
    return root_ / classes_[static_cast<std::size_t>(file(index).label)] / file(index).name;
  }

  fs::path root_;
  std::vector<std::string> classes_;
  std::vector<File> files_;
};

fs::path test_directory(const fs::path& directory) {
  std::error_code ignored;
  for (const char* name : {"val", "test"}) {
    if (fs::is_directory(directory / name, ignored)) return directory / name;
  }
  throw DataError(fmt::format("{}: has neither a directory val nor test", directory.string()));
}

}  // namespace

std::unique_ptr<Dataset> open_image_folder(const fs::path& directory, Split split, const PhotoOptions& options) {
  auto classes = classes_of(directory / "train");
  const fs::path root = split == Split::train ? directory / "train" : test_directory(directory);
  return make_encoded_dataset(std::make_unique<FolderSource>(root, std::move(classes)), options);
}

}  // namespace minim

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "data/directory_entries.h"
#include "data/encoded_source.h"
#include "data/shard_index.h"
#include "data/tar.h"

namespace minim {
namespace {

namespace fs = std::filesystem;

/// Shards that stay open; the others are opened for each image, lest a process runs out of descriptors.
constexpr std::size_t kMostOpenShards = 256;

class ShardSource final : public EncodedSource {
 public:
  explicit ShardSource(std::vector<fs::path> paths) : paths_(std::move(paths)) {
    for (std::size_t shard = 0; shard < paths_.size(); ++shard) {
      auto file = std::make_shared<const RandomAccessFile>(paths_[shard]);
      for (const ShardImage& image : index_shard(*file)) {
        images_.push_back({shard, image});
        classes_ = std::max<std::int64_t>(classes_, image.label + 1);
      }
      if (shard < kMostOpenShards) open_.push_back(std::move(file));
    }
    if (images_.empty()) throw DataError(fmt::format("{}: has no images", paths_.front().string()));
  }

  /// There are so many; throws where a label says otherwise.
  void set_classes(std::int64_t classes) {
    for (std::int64_t i = 0; i < size(); ++i) {
      if (label(i) < classes) continue;
      throw DataError(fmt::format("{}: has label {}, those of the training images are below {}", name(i), label(i), classes));
    }
    classes_ = classes;
  }

  std::int64_t size() const override { return static_cast<std::int64_t>(images_.size()); }
  std::int64_t classes() const override { return classes_; }
  std::int32_t label(std::int64_t index) const override { return at(index).image.label; }
  std::string name(std::int64_t index) const override {
    const auto file = shard_of(index);
    const auto member = TarWalk(*file, at(index).image.header_offset).next();
    return fmt::format("{}: {}", file->name(), member ? member->name : "a member that has gone");
  }
  std::vector<std::uint8_t> read(std::int64_t index) const override {
    const ShardImage& image = at(index).image;
    std::vector<std::uint8_t> bytes(static_cast<std::size_t>(image.size_bytes));
    shard_of(index)->read(image.offset, bytes, "an image");
    return bytes;
  }

 private:
  struct Entry {
    std::size_t shard;
    ShardImage image;
  };

  const Entry& at(std::int64_t index) const { return images_[static_cast<std::size_t>(index)]; }
  std::shared_ptr<const RandomAccessFile> shard_of(std::int64_t index) const {
    const std::size_t shard = at(index).shard;
    return shard < open_.size() ? open_[shard] : std::make_shared<const RandomAccessFile>(paths_[shard]);
  }

  std::vector<fs::path> paths_;
  std::vector<std::shared_ptr<const RandomAccessFile>> open_;  ///< the first shards
  std::vector<Entry> images_;
  std::int64_t classes_ = 0;
};

std::vector<fs::path> shards_of(const fs::path& directory, std::string_view prefix) {
  std::vector<fs::path> paths;
  for (const auto& entry : entries_of(directory)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(prefix) && name.ends_with(".tar")) paths.push_back(entry.path());
  }
  return paths;
}

std::unique_ptr<ShardSource> open_shards(const fs::path& directory, std::initializer_list<std::string_view> prefixes) {
  for (const std::string_view prefix : prefixes) {
    if (auto paths = shards_of(directory, prefix); !paths.empty()) return std::make_unique<ShardSource>(std::move(paths));
  }
  throw DataError(fmt::format("{}: has no {}*.tar", directory.string(), fmt::join(prefixes, "*.tar and no ")));
}

}  // namespace

std::unique_ptr<Dataset> open_webdataset(const fs::path& directory, Split split, const PhotoOptions& options) {
  auto training = open_shards(directory, {"train-"});
  if (split == Split::train) return make_encoded_dataset(std::move(training), options);
  auto source = open_shards(directory, {"val-", "test-"});
  source->set_classes(training->classes());
  return make_encoded_dataset(std::move(source), options);
}

}  // namespace minim

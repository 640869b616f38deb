#include "data/shard_index.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <optional>
#include <string_view>
#include <utility>

#include "data/directory_entries.h"
#include "data/encoded_source.h"
#include "data/tar.h"

namespace minim {
namespace {

/// As --classes takes.
constexpr std::int32_t kMostClasses = 1 << 20;

struct Name {
  std::string_view key, extension;
  bool is_hidden;
};

Name parts_of(std::string_view path) {
  const std::size_t file = path.rfind('/') + 1;  // 0 where there is no slash
  const bool is_hidden = path.substr(file).starts_with('.');
  const std::size_t dot = path.find('.', file);
  if (dot == std::string_view::npos) return {path, {}, is_hidden};
  return {path.substr(0, dot), path.substr(dot + 1), is_hidden};
}

std::int32_t read_label(const RandomAccessFile& shard, const TarMember& member) {
  std::array<std::uint8_t, 16> bytes{};
  const auto length = std::min(bytes.size(), static_cast<std::size_t>(member.size_bytes));
  shard.read(member.offset, std::span(bytes).first(length), "a label");
  std::string_view text(reinterpret_cast<const char*>(bytes.data()), length);
  text = text.substr(0, text.find_last_not_of(" \t\r\n") + 1);
  std::int32_t label = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), label);
  if (error != std::errc() || end != text.data() + text.size() || label < 0 || label >= kMostClasses) {
    shard.fail(member.offset, fmt::format("{} is \"{}\", wanted a number in [0, {})", member.name, text, kMostClasses));
  }
  return label;
}

/// Members of one key.
struct Sample {
  std::string key;
  std::optional<TarMember> image, label;
};

void take_image(const RandomAccessFile& shard, Sample& sample, const TarMember& member) {
  if (sample.image) {
    shard.fail(member.header_offset,
               fmt::format("{} follows {}, wanted one image of {}", member.name, sample.image->name, sample.key));
  }
  if (member.size_bytes > kMostImageFileBytes) {
    shard.fail(member.header_offset,
               fmt::format("{} has {} bytes, wanted at most {}", member.name, member.size_bytes, kMostImageFileBytes));
  }
  sample.image = member;
}

void append(std::vector<ShardImage>& images, const RandomAccessFile& shard, const Sample& sample) {
  const auto& [key, image, label] = sample;
  if (!image && !label) return;
  if (!label) shard.fail(image->header_offset, fmt::format("{} has no {}.cls beside it", image->name, key));
  if (!image) shard.fail(label->header_offset, fmt::format("{} has no .jpg, .jpeg or .png beside it", label->name));
  images.push_back({read_label(shard, *label), image->header_offset, image->offset, image->size_bytes});
}

}  // namespace

std::vector<ShardImage> index_shard(const RandomAccessFile& shard) {
  std::vector<ShardImage> images;
  Sample sample;
  TarWalk walk(shard);
  while (const auto member = walk.next()) {
    const auto [key, extension, is_hidden] = parts_of(member->name);
    if (is_hidden) continue;
    if (key != sample.key) {
      append(images, shard, sample);
      sample = {.key = std::string(key), .image = {}, .label = {}};
    }
    if (is_image_extension(std::string(extension))) take_image(shard, sample, *member);
    if (extension == "cls") sample.label = member;
  }
  append(images, shard, sample);
  return images;
}

}  // namespace minim

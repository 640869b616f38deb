#include "checkpoint_manifest.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <type_traits>

#include "minim/runtime/error.h"

namespace minim {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFormat = "minim checkpoint";
constexpr int kVersion = 1;

static_assert(sizeof(StepState) == 144, "a new member belongs into each_member below: it is part of every checkpoint");

template <class State, class F>
void each_member(State& state, const F& f) {
  f("loss_scale", state.loss_scale);
  f("good_steps", state.good_steps);
  f("applied", state.applied);
  f("attempted", state.attempted);
  f("consecutive_skips", state.consecutive_skips);
  f("probing", state.probing);
  f("outcome", state.outcome);
  f("last_applied", state.last_applied);
  f("stop", state.stop);
  f("failed_rank", state.failed_rank);
  f("error_code", state.error_code);
  f("exhausted", state.exhausted);
  f("probe_failed", state.probe_failed);
  f("first_bad_parameter", state.first_bad_parameter);
  f("non_finite", state.non_finite);
  f("used_loss_scale", state.used_loss_scale);
  f("learning_rate", state.learning_rate);
  f("unscale", state.unscale);
  f("gradient_norm", state.gradient_norm);
  f("loss", state.loss);
  f("weight", state.weight);
  f("correct", state.correct);
}

/// JSON has no infinities and NaNs, but the sums of a skipped step may be just that: they are written as strings.
Json number(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  return value;
}
double to_number(const Json& json) {
  if (!json.is_string()) return json.get<double>();
  const auto& text = json.get_ref<const std::string&>();
  if (text == "nan") return std::numeric_limits<double>::quiet_NaN();
  if (text == "inf") return std::numeric_limits<double>::infinity();
  if (text == "-inf") return -std::numeric_limits<double>::infinity();
  throw DataError(fmt::format("\"{}\" is not a number", text));
}

Json to_json(const StepState& state) {
  Json json;
  each_member(state, [&json](const char* key, const auto& member) {
    using Member = std::remove_cvref_t<decltype(member)>;
    if constexpr (std::is_array_v<Member>) {
      for (const float value : member) json[key].push_back(number(value));
    } else if constexpr (std::is_floating_point_v<Member>) {
      json[key] = number(member);
    } else {
      json[key] = member;
    }
  });
  return json;
}

StepState to_state(const Json& json) {
  StepState state;
  each_member(state, [&json](const char* key, auto& member) {
    using Member = std::remove_cvref_t<decltype(member)>;
    const Json& value = json.at(key);
    if constexpr (std::is_array_v<Member>) {
      if (value.size() != std::size(member))
        throw DataError(fmt::format("{} values of {}, wanted {}", value.size(), key, std::size(member)));
      for (std::size_t i = 0; i < std::size(member); ++i) member[i] = static_cast<float>(to_number(value.at(i)));
    } else if constexpr (std::is_floating_point_v<Member>) {
      member = static_cast<Member>(to_number(value));
    } else {
      member = value.get<Member>();
    }
  });
  return state;
}

Json to_json(const ManifestTensor& tensor) {
  Json json = {{"name", tensor.name}, {"dtype", "F32"}, {"shape", tensor.shape.dims()}};
  for (const auto& piece : tensor.pieces) {
    json["pieces"].push_back({{"file", piece.file}, {"begin", piece.begin}, {"end", piece.end}});
  }
  return json;
}

ManifestTensor to_tensor(const Json& json) {
  ManifestTensor tensor;
  tensor.name = json.at("name").get<std::string>();
  if (json.at("dtype") != "F32") throw DataError(fmt::format("tensor \"{}\" is not F32", tensor.name));
  const auto dims = json.at("shape").get<std::vector<std::int64_t>>();
  if (std::any_of(dims.begin(), dims.end(), [](std::int64_t dim) { return dim < 0; })) {
    throw DataError(fmt::format("tensor \"{}\" has a negative dimension", tensor.name));
  }
  tensor.shape = Shape(std::span<const std::int64_t>(dims));
  if (!json.contains("pieces")) return tensor;
  for (const Json& piece : json.at("pieces")) {
    tensor.pieces.push_back(
        {piece.at("file").get<std::string>(), piece.at("begin").get<std::int64_t>(), piece.at("end").get<std::int64_t>()});
  }
  return tensor;
}

Json to_json(const Manifest& manifest) {
  Json json = {{"format", kFormat},
               {"version", kVersion},
               {"step", manifest.step()},
               {"applied", manifest.phases.front().state.applied},
               {"world_size", manifest.world_size},
               {"precision", manifest.precision},
               {"seed", manifest.seed},
               {"data_position", manifest.extra.data_position},
               {"note", manifest.extra.note},
               {"configuration", manifest.extra.configuration}};
  json["phases"] = Json::array();
  for (const auto& phase : manifest.phases) {
    json["phases"].push_back({{"rule", phase.rule}, {"loss_scale_mode", phase.loss_scale_mode}, {"state", to_json(phase.state)}});
  }
  json["files"] = Json::array();
  for (const auto& file : manifest.files) {
    json["files"].push_back(
        {{"name", file.name}, {"size_bytes", file.sum.size_bytes}, {"crc32", fmt::format("{:08x}", file.sum.crc32)}});
  }
  json["tensors"] = Json::array();
  for (const auto& tensor : manifest.arrays) json["tensors"].push_back(to_json(tensor));
  json["states"] = Json::array();
  for (const auto& tensor : manifest.states) json["states"].push_back(to_json(tensor));
  return json;
}

std::uint32_t to_crc(const std::string& text) {
  std::size_t used = 0;
  const unsigned long value = text.size() == 8 ? std::stoul(text, &used, 16) : 0;
  if (used != 8) throw DataError(fmt::format("\"{}\" is not a CRC-32", text));
  return static_cast<std::uint32_t>(value);
}

Manifest to_manifest(const Json& json) {
  if (json.at("format") != kFormat) throw DataError("it is not one of minim's");
  const int version = json.at("version").get<int>();
  if (version != kVersion) throw DataError(fmt::format("its format has version {}, wanted {}", version, kVersion));
  Manifest manifest;
  manifest.world_size = json.at("world_size").get<int>();
  manifest.precision = json.at("precision").get<std::string>();
  manifest.seed = json.at("seed").get<std::uint64_t>();
  manifest.extra = {.data_position = json.at("data_position").get<std::int64_t>(),
                    .configuration = json.at("configuration").get<std::string>(),
                    .note = json.at("note").get<std::string>()};
  for (const Json& phase : json.at("phases")) {
    manifest.phases.push_back(
        {phase.at("rule").get<std::string>(), phase.at("loss_scale_mode").get<std::string>(), to_state(phase.at("state"))});
  }
  for (const Json& file : json.at("files")) {
    const FileSum sum{file.at("size_bytes").get<std::int64_t>(), to_crc(file.at("crc32").get<std::string>())};
    manifest.files.push_back({file.at("name").get<std::string>(), sum});
  }
  for (const Json& tensor : json.at("tensors")) manifest.arrays.push_back(to_tensor(tensor));
  for (const Json& tensor : json.at("states")) manifest.states.push_back(to_tensor(tensor));
  return manifest;
}

void check_cover(const ManifestTensor& tensor) {
  std::int64_t end = 0;
  for (const auto& piece : tensor.pieces) {
    if (piece.begin != end || piece.end < piece.begin)
      throw DataError(fmt::format("pieces of \"{}\" do not join at {}", tensor.name, end));
    end = piece.end;
  }
  if (end != tensor.shape.elements()) {
    throw DataError(fmt::format("pieces of \"{}\" hold {} of {} elements", tensor.name, end, tensor.shape.elements()));
  }
}

void check_consistency(const Manifest& manifest) {
  const auto listed = [&manifest](const std::string& file) {
    return std::any_of(manifest.files.begin(), manifest.files.end(), [&file](const auto& entry) { return entry.name == file; });
  };
  if (manifest.world_size < 1 || manifest.phases.empty()) throw DataError("it has no ranks or no phases");
  for (const auto& file : manifest.files) {
    if (file.name.empty() || file.name.front() == '.' || file.name.find('/') != std::string::npos) {
      throw DataError(fmt::format("\"{}\" is not the name of a file beside it", file.name));
    }
  }
  for (const auto& tensor : manifest.arrays) {
    check_cover(tensor);
    for (const auto& piece : tensor.pieces) {
      if (!listed(piece.file)) throw DataError(fmt::format("\"{}\" is in {}, which is not listed", tensor.name, piece.file));
    }
  }
  for (int rank = 0; rank < manifest.world_size; ++rank) {
    const auto file = states_name(rank, manifest.world_size);
    if (!listed(file)) throw DataError(fmt::format("{} is not listed", file));
  }
}

/// The last member of the object, after the text that it sums up.
std::string checksum_tail(std::string_view text) {
  const auto crc = crc32_z(0, reinterpret_cast<const Bytef*>(text.data()), text.size());
  return fmt::format(",\n  \"crc32\": \"{:08x}\"\n}}\n", crc);
}

}  // namespace

std::string shard_name(int rank, int world_size) { return fmt::format("shard-{:03}-of-{:03}.safetensors", rank, world_size); }
std::string states_name(int rank, int world_size) { return fmt::format("states-{:03}-of-{:03}.safetensors", rank, world_size); }

std::string_view name(LossScaleMode mode) {
  switch (mode) {
    case LossScaleMode::dynamic: return "dynamic";
    case LossScaleMode::constant: return "constant";
    case LossScaleMode::off: return "off";
  }
  return "unknown";
}

std::string to_text(const Manifest& manifest) {
  std::string text = to_json(manifest).dump(2);
  text.resize(text.size() - std::string_view("\n}").size());
  return text + checksum_tail(text);
}

Manifest parse_manifest(const std::string& text, const std::filesystem::path& path) {
  const std::size_t tail_size = checksum_tail("").size();
  if (text.size() < tail_size)
    throw DataError(fmt::format("{}: offset 0: the file has {} bytes: it is cut short", path.string(), text.size()));
  const auto body = std::string_view(text).substr(0, text.size() - tail_size);
  if (text.substr(body.size()) != checksum_tail(body)) {
    throw DataError(fmt::format("{}: offset {}: it does not end in the CRC-32 of its {} bytes: it has been changed or cut short",
                                path.string(), body.size(), body.size()));
  }
  try {
    Manifest manifest = to_manifest(Json::parse(text));
    check_consistency(manifest);
    return manifest;
  } catch (const std::exception& error) {
    throw DataError(fmt::format("{}: {}", path.string(), error.what()));
  }
}

Manifest read_manifest(const std::filesystem::path& directory) {
  const auto path = directory / kManifestName;
  return parse_manifest(read_text(path), path);
}

void verify_file(const std::filesystem::path& directory, const ManifestFile& file, const AtWork& at_work) {
  const auto path = directory / file.name;
  std::error_code failure;
  const auto size = std::filesystem::file_size(path, failure);
  check_system(failure, "read", path);
  if (static_cast<std::int64_t>(size) != file.sum.size_bytes) {
    throw DataError(fmt::format("{}: offset {}: the file ends here, wanted {} bytes", path.string(), size, file.sum.size_bytes));
  }
  const FileSum sum = sum_of(path, at_work);
  if (sum.crc32 != file.sum.crc32) {
    throw DataError(fmt::format("{}: CRC-32 of its {} bytes is {:08x}, the manifest wants {:08x}: it has been changed",
                                path.string(), sum.size_bytes, sum.crc32, file.sum.crc32));
  }
}

}  // namespace minim

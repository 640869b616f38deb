#include <fmt/format.h>

#include <cmath>

#include "checkpoint_reader.h"
#include "minim/runtime/simd.h"

namespace minim {
namespace {

namespace fs = std::filesystem;

/// A tensor of the checkpoint and the name that it is exported under.
struct Export {
  std::string name;
  const ManifestTensor* tensor;
  bool is_state;
};

std::vector<Export> exports_of(const CheckpointReader& reader) {
  std::vector<Export> exports;
  const auto plain = [](const ManifestTensor& tensor) { return tensor.name.substr(tensor.name.find(':') + 1); };
  for (const auto& tensor : reader.manifest().arrays) {
    if (reader.find_evaluated(plain(tensor)) == &tensor) exports.push_back({plain(tensor), &tensor, false});
  }
  for (const auto& tensor : reader.manifest().states) exports.push_back({plain(tensor), &tensor, true});
  return exports;
}

/// Rounds to nearest even, where that is a finite number.
std::vector<Half> to_halves(const std::string& name, std::span<const float> values) {
  std::vector<Half> halves(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    halves[i] = to_half(values[i]);
    if (!std::isfinite(to_float(halves[i]))) {
      throw NumericError(fmt::format("\"{}\": element {} is {}, which FP16 cannot hold (largest: {}); export it as FP32", name, i,
                                     values[i], kHalfMax));
    }
  }
  return halves;
}

void write(CheckpointReader& reader, const fs::path& file, DType dtype) {
  const auto exports = exports_of(reader);
  std::vector<SafetensorsWriter::Declaration> declarations;
  for (const auto& entry : exports) declarations.push_back({entry.name, dtype, entry.tensor->shape});
  const Manifest& manifest = reader.manifest();
  SafetensorsWriter writer(file, std::move(declarations),
                           {{"writer", "minim"}, {"step", std::to_string(manifest.step())}, {"precision", manifest.precision}});
  for (const auto& entry : exports) {
    auto values = entry.is_state ? reader.mean_state(*entry.tensor) : reader.array(*entry.tensor);
    const Shape shape{static_cast<std::int64_t>(values.size())};
    if (dtype == DType::fp32) {
      writer.write(TensorView(values.data(), dtype, shape));
    } else {
      auto halves = to_halves(entry.name, values);
      writer.write(TensorView(halves.data(), dtype, shape));
    }
  }
  writer.close();
}

}  // namespace

void export_safetensors(const CheckpointInfo& info, const fs::path& file, DType dtype) {
  if (dtype != DType::fp16 && dtype != DType::fp32)
    throw InvalidArgument(fmt::format("export as {}, wanted fp16 or fp32", name(dtype)));
  CheckpointReader reader(info.directory, read_manifest(info.directory), {});
  const fs::path partial = file.string() + ".partial";
  std::error_code failure;
  try {
    write(reader, partial, dtype);
    fs::rename(partial, file, failure);
    check_system(failure, "rename to", file);
  } catch (...) {
    fs::remove(partial, failure);
    throw;
  }
  sync_directory(file.has_parent_path() ? file.parent_path() : fs::path("."));
}

}  // namespace minim

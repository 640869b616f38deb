#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "checkpoint_file.h"
#include "minim/launcher/safetensors.h"
#include "safetensors_format.h"

namespace minim {
namespace {

using Json = nlohmann::ordered_json;

std::string_view type_name(DType dtype) {
  return std::find_if(safetensors::kTypeNames.begin(), safetensors::kTypeNames.end(),
                      [dtype](const auto& type) { return type.dtype == dtype; })
      ->name;
}

/// The file up to its data: size and header, padded so that the data starts on a multiple of 8.
std::string file_start(const std::filesystem::path& file, const std::vector<SafetensorsWriter::Declaration>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  Json header = Json::object();
  if (!metadata.empty()) header[safetensors::kMetadataKey] = metadata;
  std::int64_t offset = 0;
  for (const auto& tensor : tensors) {
    if (header.contains(tensor.name) || tensor.name == safetensors::kMetadataKey) {
      throw InvalidArgument(fmt::format("{}: a tensor cannot be called \"{}\" (again)", file.string(), tensor.name));
    }
    const std::int64_t end = offset + tensor.shape.elements() * size_bytes(tensor.dtype);
    header[tensor.name] = {{"dtype", type_name(tensor.dtype)}, {"shape", tensor.shape.dims()}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.resize(static_cast<std::size_t>(round_up(static_cast<std::int64_t>(text.size()), 8)), ' ');
  std::string start;
  for (unsigned shift = 0; shift < 64; shift += 8) start.push_back(static_cast<char>(text.size() >> shift & 0xFFU));
  return start + text;
}

}  // namespace

struct SafetensorsWriter::Impl {
  OutputFile file;
  std::vector<Declaration> tensors;
  std::size_t written = 0;
};

SafetensorsWriter::SafetensorsWriter(std::filesystem::path file, std::vector<Declaration> tensors,
                                     const std::map<std::string, std::string>& metadata, AtWork at_work) {
  const std::string start = file_start(file, tensors, metadata);
  impl_ = std::unique_ptr<Impl>(new Impl{OutputFile(std::move(file), std::move(at_work)), std::move(tensors)});
  impl_->file.write(std::as_bytes(std::span(start)));
}

SafetensorsWriter::~SafetensorsWriter() = default;

void SafetensorsWriter::write(ConstTensorView data) {
  const auto& file = impl_->file.path();
  if (impl_->written == impl_->tensors.size()) {
    throw InvalidArgument(fmt::format("{}: all {} declared tensors have been written", file.string(), impl_->written));
  }
  const Declaration& wanted = impl_->tensors[impl_->written];
  if (data.dtype() != wanted.dtype || data.elements() != wanted.shape.elements()) {
    throw InvalidArgument(fmt::format("{}: \"{}\" was declared as {} {}, but {} {} was given", file.string(), wanted.name,
                                      name(wanted.dtype), wanted.shape.to_string(), name(data.dtype()),
                                      data.shape().to_string()));
  }
  impl_->file.write({static_cast<const std::byte*>(data.raw()), static_cast<std::size_t>(data.size_bytes())});
  ++impl_->written;
}

std::pair<std::int64_t, std::uint32_t> SafetensorsWriter::close() {
  if (impl_->written != impl_->tensors.size()) {
    throw InvalidArgument(fmt::format("{}: closed after {} of {} declared tensors", impl_->file.path().string(), impl_->written,
                                      impl_->tensors.size()));
  }
  const FileSum sum = impl_->file.close();
  return {sum.size_bytes, sum.crc32};
}

}  // namespace minim

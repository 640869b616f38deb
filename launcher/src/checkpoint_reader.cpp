#include "checkpoint_reader.h"

#include <fmt/format.h>

#include <algorithm>

#include "minim/runtime/error.h"
#include "weights.h"

namespace minim {
namespace {

const ManifestTensor* find(const std::vector<ManifestTensor>& tensors, const std::string& name) {
  const auto found = std::find_if(tensors.begin(), tensors.end(), [&name](const auto& tensor) { return tensor.name == name; });
  return found == tensors.end() ? nullptr : &*found;
}

}  // namespace

CheckpointReader::CheckpointReader(std::filesystem::path directory, Manifest manifest, AtWork at_work)
    : directory_(std::move(directory)), manifest_(std::move(manifest)), at_work_(std::move(at_work)) {}

const ManifestTensor* CheckpointReader::find_array(const std::string& name) const { return find(manifest_.arrays, name); }
const ManifestTensor* CheckpointReader::find_state(const std::string& name) const {
  return find(manifest_.states, "state:" + name);
}

const ManifestTensor* CheckpointReader::find_weights(const std::string& parameter) const {
  const ManifestTensor* master = find_array("master:" + parameter);
  return master != nullptr ? master : find_array("weight:" + parameter);
}

const ManifestTensor* CheckpointReader::find_evaluated(const std::string& parameter) const {
  const ManifestTensor* average = find_array("average:" + parameter);
  return average != nullptr ? average : find_weights(parameter);
}

void CheckpointReader::read(const std::string& file, const std::string& tensor, std::span<float> out) {
  auto reader = files_.find(file);
  if (reader == files_.end()) reader = files_.try_emplace(file, directory_ / file, at_work_).first;
  const auto* entry = reader->second.find(tensor);
  const auto elements = static_cast<std::int64_t>(out.size());
  if (entry == nullptr || entry->dtype != DType::fp32 || entry->shape.elements() != elements) {
    throw DataError(fmt::format("{}: \"{}\" is not there as {} elements of F32, as the manifest says",
                                (directory_ / file).string(), tensor, elements));
  }
  reader->second.read(*entry, TensorView(out.data(), DType::fp32, Shape{elements}));
}

std::vector<float> CheckpointReader::array(const ManifestTensor& tensor) {
  std::vector<float> values(static_cast<std::size_t>(tensor.shape.elements()));
  for (const auto& piece : tensor.pieces) {
    read(piece.file, tensor.name,
         std::span(values).subspan(static_cast<std::size_t>(piece.begin), static_cast<std::size_t>(piece.end - piece.begin)));
  }
  return values;
}

std::vector<float> CheckpointReader::state(const ManifestTensor& tensor, int rank) {
  std::vector<float> values(static_cast<std::size_t>(tensor.shape.elements()));
  read(states_name(rank, manifest_.world_size), tensor.name, values);
  return values;
}

std::vector<float> CheckpointReader::mean_state(const ManifestTensor& tensor) {
  std::vector<double> sums(static_cast<std::size_t>(tensor.shape.elements()));
  for (int rank = 0; rank < manifest_.world_size; ++rank) {
    const auto values = state(tensor, rank);
    std::transform(values.begin(), values.end(), sums.begin(), sums.begin(), [](float value, double sum) { return sum + value; });
  }
  std::vector<float> means(sums.size());
  std::transform(sums.begin(), sums.end(), means.begin(),
                 [this](double sum) { return static_cast<float>(sum / manifest_.world_size); });
  return means;
}

void CheckpointReader::check_match(const ManifestTensor* found, const std::string& wanted, const Shape& shape) const {
  expect_shape(directory_.string(), found != nullptr ? found->name : wanted, found != nullptr ? &found->shape : nullptr, shape);
}

void CheckpointReader::check_states(const Model& model) const {
  for (const auto& state : model.states()) check_match(find_state(state->name), "state:" + state->name, state->shape);
  for (const auto& tensor : manifest_.states) {
    const bool known = std::any_of(model.states().begin(), model.states().end(),
                                   [&tensor](const auto& state) { return "state:" + state->name == tensor.name; });
    if (!known) throw_unknown_tensor(directory_.string(), tensor.name, tensor.shape);
  }
}

}  // namespace minim

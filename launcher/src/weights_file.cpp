#include "minim/launcher/weights_file.h"

#include <fmt/format.h>

#include <algorithm>

#include "minim/runtime/simd.h"
#include "weights.h"

namespace minim {
namespace {

constexpr std::string_view kBatchCount = ".num_batches_tracked";

bool has(const Model& model, const std::string& name) {
  const auto is_it = [&name](const auto& item) { return item->name == name; };
  return std::ranges::any_of(model.parameters(), is_it) || std::ranges::any_of(model.states(), is_it);
}

}  // namespace

WeightsFile::WeightsFile(const std::filesystem::path& file, const Model& model, AtWork at_work)
    : file_(file), reader_(file, std::move(at_work)) {
  for (const auto& parameter : model.parameters()) expect(parameter->name, parameter->shape);
  for (const auto& state : model.states()) expect(state->name, state->shape);
  for (const SafetensorsEntry& entry : reader_.entries()) {
    if (has(model, entry.name) || entry.name.ends_with(kBatchCount)) continue;
    throw_unknown_tensor(file_.string(), entry.name, entry.shape);
  }
}

void WeightsFile::expect(const std::string& name, const Shape& shape) const {
  const SafetensorsEntry* entry = reader_.find(name);
  expect_shape(file_.string(), name, entry != nullptr ? &entry->shape : nullptr, shape);
  if (entry->dtype != DType::fp32 && entry->dtype != DType::fp16 && entry->dtype != DType::bf16) {
    throw InvalidArgument(
        fmt::format("{}: \"{}\" is {}, wanted fp32, fp16 or bf16", file_.string(), name, minim::name(entry->dtype)));
  }
}

std::vector<float> WeightsFile::read(const std::string& name) const {
  const SafetensorsEntry& entry = *reader_.find(name);
  std::vector<std::byte> stored(static_cast<std::size_t>(entry.size_bytes));
  std::vector<float> values(static_cast<std::size_t>(entry.shape.elements()));
  const TensorView view(stored.data(), entry.dtype, entry.shape);
  reader_.read(entry, view);
  simd::convert(view, TensorView(values.data(), DType::fp32, entry.shape));
  return values;
}

void load_weights(const WeightsFile& file, Model& model, Backend& backend) {
  for (const auto& parameter : model.parameters()) set_weight(backend, *parameter, file.read(parameter->name));
  for (const auto& state : model.states()) set_state_values(backend, *state, file.read(state->name));
}

void load_weights(const WeightsFile& file, Trainer& trainer) {
  trainer.stream().synchronize();
  for (int phase = 0; phase < trainer.phases(); ++phase) {
    ShardedOptimizer& optimizer = trainer.optimizer(phase);
    const std::string weights = optimizer.array_names().front();
    for (const Parameter* parameter : optimizer.parameters()) {
      optimizer.set_array(weights, *parameter, file.read(parameter->name));
    }
  }
  for (const auto& state : trainer.model().states()) set_state_values(trainer.backend(), *state, file.read(state->name));
}

}  // namespace minim

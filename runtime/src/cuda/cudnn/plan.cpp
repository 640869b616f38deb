#include "cuda/cudnn/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "minim/runtime/error.h"

namespace minim::cuda::cudnn {
namespace {

/// Proposals that are looked at. Each mode returns fewer for convolutions.
constexpr std::int64_t kMostProposals = 64;

constexpr std::array kRefusedNotes = {
    CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS,
    CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION,
    CUDNN_NUMERICAL_NOTE_FFT,
    CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC,
    CUDNN_NUMERICAL_NOTE_WINOGRAD,
    CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4,
    CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6,
    CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13,
};

std::int64_t number_of(const Descriptor& engine) { return engine.get<std::int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX); }

using Notes = std::vector<cudnnBackendNumericalNote_t>;

Notes notes_of(const Descriptor& engine) {
  return engine.get_list<cudnnBackendNumericalNote_t>(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_NUMERICAL_NOTE_TYPE_COUNT);
}

bool allows(const PlanRules& rules, const Descriptor& engine, const Notes& notes) {
  if (std::ranges::find(rules.refused_engines, number_of(engine)) != rules.refused_engines.end()) return false;
  return std::ranges::none_of(notes, [&](cudnnBackendNumericalNote_t note) {
    if (note == CUDNN_NUMERICAL_NOTE_TENSOR_CORE) return !rules.tensor_cores;
    return std::ranges::find(kRefusedNotes, note) != kRefusedNotes.end();
  });
}

/// "23 2:1 5:0": the engine's number and its settings by kind.
std::string choice_of(const Descriptor& proposal, const Descriptor& engine) {
  std::string choice = std::to_string(number_of(engine));
  for (const Descriptor& knob :
       proposal.get_list(CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, CUDNN_KNOB_TYPE_COUNTS)) {
    choice += fmt::format(" {}:{}", static_cast<int>(knob.get<cudnnBackendKnobType_t>(CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE)),
                          knob.get<std::int64_t>(CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE));
  }
  return choice;
}

/// Engines with their settings, the fastest first as cuDNN thinks.
std::vector<Descriptor> proposals(const Descriptor& graph, const DeviceProperties& device, cudnnBackendHeurMode_t mode) {
  Descriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph)
      .set(CUDNN_ATTR_ENGINEHEUR_MODE, mode)
      .set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, device.descriptor())
      .finalize();
  return heuristics.get_list(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, kMostProposals);
}

/// Nothing when the rules refuse the proposal, or another choice is wanted. Throws DeviceError when cuDNN cannot follow its own
/// proposal.
std::optional<Plan> plan_from(const Descriptor& proposal, const DeviceProperties& device, const PlanRules& rules,
                              const std::string& wanted) {
  const auto engines = proposal.get_list(CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_BACKEND_ENGINE_DESCRIPTOR, 1);
  const Notes notes = notes_of(engines.at(0));
  if (!allows(rules, engines.at(0), notes)) return {};
  const std::string choice = choice_of(proposal, engines.at(0));
  if (!wanted.empty() && choice != wanted) return {};
  Descriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
  plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, proposal)
      .set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, device.descriptor())
      .finalize();
  const auto workspace_bytes = plan.get<std::int64_t>(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE);
  if (workspace_bytes > rules.most_workspace_bytes) return {};
  return Plan{.descriptor = plan,
              .engine = number_of(engines.at(0)),
              .choice = choice,
              .workspace_bytes = workspace_bytes,
              .tensor_cores = std::ranges::find(notes, CUDNN_NUMERICAL_NOTE_TENSOR_CORE) != notes.end()};
}

}  // namespace

std::vector<Plan> make_plans(const Descriptor& graph, const DeviceProperties& device, const PlanRules& rules, std::size_t most,
                             const std::string& choice) {
  std::string refusal = "none is proposed that repeats its bits, sums in FP32 and fits its workspace";
  for (const auto mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
    std::vector<Plan> plans;
    for (const Descriptor& proposal : proposals(graph, device, mode)) {
      try {
        if (auto plan = plan_from(proposal, device, rules, choice)) plans.push_back(*std::move(plan));
      } catch (const DeviceError& error) {  // the next may do
        refusal = error.what();
      }
      if (plans.size() == most) break;
    }
    if (!plans.empty()) return plans;
  }
  throw DeviceError("cuDNN has no plan: " + refusal);
}

}  // namespace minim::cuda::cudnn

#include "command/step_figures.h"

#include <algorithm>

#include "command/inspector.h"
#include "minim/comm/buckets.h"
#include "minim/launcher/trainer.h"
#include "minim/model/data/loader.h"

namespace minim::command {
namespace {

constexpr std::int64_t kTrainerSumBytes = 3 * size_bytes(DType::fp32);  // loss, weight and correct of a step

std::int64_t add_up(const StepFigures& figures) {
  return figures.optimizer.total_bytes() + figures.plan.activations_bytes + figures.plan.workspace_bytes +
         figures.plan.input_bytes + figures.state_bytes + figures.staging_bytes;
}

void add_inspector(StepFigures& figures, const InspectorMemory& memory) {
  figures.optimizer.weights_bytes += memory.weights_bytes;
  figures.optimizer.gradients_bytes += memory.gradients_bytes;
  figures.plan.activations_bytes += memory.activations_bytes;
  figures.plan.workspace_bytes += memory.workspace_bytes;
  figures.plan.input_bytes += memory.input_bytes;
  figures.state_bytes += memory.state_bytes;
}

}  // namespace

StepFigures figures_of(const RunConfig& config, const Network& network, const ImageTask& task, int ranks, Backend& backend,
                       std::int64_t total_steps) {
  const Precision precision = parse_precision(config.precision);
  const double nominal_weight = static_cast<double>(config.batch * config.accumulate);
  const auto plan = Plan::compile(network.training, backend,
                                  {.precision = precision,
                                   .batch = config.batch,
                                   .nominal_weight = nominal_weight,
                                   .ranks = config.sync_batch_norm ? ranks : 1});
  const auto evaluation = Plan::compile(network.evaluation, backend, {.precision = precision, .batch = config.batch});
  const auto parameters = network.parameters();
  const OptimizerConfig optimizer = optimizer_config(config, total_steps);

  StepFigures figures;
  figures.precision = config.precision;
  figures.optimizer = optimizer_memory(parameters, ranks, optimizer);
  figures.plan = plan->memory();
  // The rest of the evaluation's plan lies in the training plan's arena.
  figures.plan.input_bytes += evaluation->memory().input_bytes + BatchFeed::input_bytes(backend, *plan) + kTrainerSumBytes;
  figures.state_bytes = state_bytes(network.model);
  figures.staging_bytes = staging_bytes(task, {.batch = config.batch, .dtype = compute_dtype(precision)}) +
                          BatchFeed::staging_bytes() + Evaluator::staging_bytes() + cache_bytes(config);
  if (config.inspect) add_inspector(figures, inspector_memory(config, network, backend, *plan));
  figures.parameters = network.model.parameter_count();
  figures.costs = plan->costs();
  for (const OperationCost& cost : figures.costs) figures.flops += cost.flops * static_cast<double>(config.accumulate);
  std::int64_t largest_message_bytes = 0;
  for (const Bucket& bucket : plan_buckets(parameters, compute_dtype(precision), ranks, optimizer.buckets)) {
    const std::int64_t message_bytes = bucket.elements * size_bytes(bucket.dtype);
    figures.gradient_message_bytes += message_bytes;
    largest_message_bytes = std::max(largest_message_bytes, message_bytes);
  }
  // Where NCCL adds in FP32 it receives what the other ranks contribute to a bucket.
  if (!backend.host_accessible() && optimizer.grad_sync == GradSync::fp32_accumulate) {
    figures.optimizer.workspace_bytes += largest_message_bytes;
  }
  figures.weight_message_bytes = config.shard ? figures.gradient_message_bytes : 0;
  figures.total_bytes = add_up(figures);
  return figures;
}

}  // namespace minim::command

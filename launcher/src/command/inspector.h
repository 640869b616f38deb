#pragma once

#include <map>
#include <memory>
#include <vector>

#include "command/experiment.h"
#include "command/inspection.h"
#include "minim/launcher/trainer.h"

namespace minim::command {

/// Bytes of a rank that inspecting takes on top of training, by what they are booked as. For the time of an inspected step the
/// host also keeps a copy of the rank's master weights.
struct InspectorMemory {
  std::int64_t weights_bytes = 0, gradients_bytes = 0, activations_bytes = 0, workspace_bytes = 0, input_bytes = 0;
  std::int64_t state_bytes = 0;  ///< running statistics and counts
};
/// Of a resolved configuration whose training plan is `training`.
InspectorMemory inspector_memory(const RunConfig& config, const Network& network, Backend& backend, const Plan& training);

/// Looks at the numbers of single steps. What FP16 has flushed is not to be seen in FP16, so the micro-batches of the step run
/// once more in FP32, without a loss scale: with the same inputs, the same dropout and the weights that the step computes with,
/// widened, but with running statistics and gradients of its own. The training's numbers do not depend on it.
///
/// A step that is looked at: begin(), the step with observe() in its feed, the step is drained, finish(). Supervised training
/// alone: one phase, one plan.
class Inspector final : private PlanObserver {
 public:
  /// A second network as the trainer's. Throws DeviceError without the memory. The trainer outlives it.
  Inspector(const RunConfig& config, const ImageTask& task, Trainer& trainer);
  ~Inspector() override;

  /// Remembers this rank's master weights. No step is under way.
  void begin();
  /// Enqueues the micro-batch that the trainer's plan has been given.
  void observe(const MicroBatch& micro_batch);
  /// What was seen on all ranks. Collective; the step has been drained.
  Inspection finish();

 private:
  /// A tensor that is counted, and the kernel that does it.
  struct Counted {
    InspectedTensor tensor;
    int node = 0;
    std::unique_ptr<KernelCall> count;
  };
  /// A parameter of the trainer's and what belongs to it here.
  struct Twin {
    Parameter* parameter = nullptr;
    std::unique_ptr<KernelCall> widen;
    int weight = -1, gradient = -1;  ///< indices of what is counted; -1: kept in FP32 by every precision, of no interest
  };

  void before_use(const Parameter& /*parameter*/, Stream& /*stream*/) override {}
  void gradient_ready(const Parameter& /*parameter*/, Stream& /*stream*/) override {}
  void completed(const CompletedTensor& tensor, Stream& stream) override;
  void all_gather(TensorView data, const std::string& label, Stream& stream) override;

  void place_parameters();
  void prepare_parameters();
  void prepare_inputs();
  int add(InspectedTensor tensor, int node, ConstTensorView values, ConstTensorView valid_samples);
  std::vector<float> master_of(std::size_t parameter) const;
  std::vector<std::int64_t> count_on_all_ranks();
  std::vector<WeightUpdate> updates_on_all_ranks();

  Trainer& trainer_;
  Backend& backend_;
  std::string precision_;
  Network network_;
  std::unique_ptr<Plan> plan_;
  std::vector<Tensor> tensors_;  ///< weights and gradients
  Tensor loss_scale_;            ///< 1
  Tensor counts_;                ///< of everything that is counted, one after the other
  std::unique_ptr<KernelCall> clear_;
  std::vector<std::unique_ptr<KernelCall>> inputs_;  ///< copies from the trainer's plan
  std::vector<Twin> twins_;                          ///< in the model's order
  std::vector<Counted> counted_;
  std::map<const CompletedTensor*, int> completed_;  ///< index in `counted_`
  std::vector<std::vector<float>> masters_;          ///< before the step, this rank's parts, in the model's order
};

}  // namespace minim::command

#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "minim/comm/communicator.h"
#include "minim/launcher/step_trace.h"
#include "minim/model/plan.h"
#include "minim/optimizer/sharded_optimizer.h"

namespace minim {

/// One part of a training step: a plan, its losses, and the parameters that it updates, ended by an agreement of its own.
/// Supervised training has one phase, a generative adversarial network two.
struct PhaseConfig {
  std::string name = "train";
  /// Training graphs over the trainer's model, one per length class; a micro-batch runs on one of them.
  std::vector<const Graph*> graphs;
  std::function<bool(const Parameter&)> updates;  ///< parameters that this phase trains; null: all
  std::int64_t batch = 1;                         ///< samples of a micro-batch on one rank
  OptimizerConfig optimizer;                      ///< its nominal weight and hash are filled in by the trainer
  std::string loss = "loss", weight = "weight", correct = "correct";  ///< outputs of the graphs with the phase's sums
};

/// A micro-batch whose inputs are to be filled.
struct MicroBatch {
  int phase = 0;
  int index = 0;                 ///< 0 ... micro_batches - 1
  std::int64_t step = 0;         ///< steps before this one
  std::span<Plan* const> plans;  ///< one per length class
  Stream& stream;                ///< inputs are filled in its order: kernels before may still read them
};
/// Enqueues the copies that fill all inputs of one plan, from memory of `Backend::allocate_host`, and returns the plan's index.
/// Their sources stay as they are until they have run, which they have when the feed is called again or the step is over. Throws
/// when this rank has no usable data, which all ranks will learn of.
using Feed = std::function<int(const MicroBatch&)>;

/// Trains a model: the step of a data-parallel run under mixed precision, on any communicator and backend.
/// Every call is collective. Never prints, never exits.
class Trainer {
 public:
  struct Options {
    Precision precision = Precision::mixed;
    int micro_batches = 1;  ///< forward and backward passes per step
    std::uint64_t seed = 1;
    std::uint64_t configuration_hash = 0;
    /// Statistics of a micro-batch are taken over all ranks, which wait for each other at every batch normalisation. Feeds then
    /// choose the same plan on all ranks.
    bool synchronise_batch_norm = false;
  };

  /// Compiles and binds all plans, allocates and initialises the optimizers and the states. The arguments must outlive the
  /// trainer.
  Trainer(Backend& backend, Communicator& communicator, Model& model, std::vector<PhaseConfig> phases, Options options);
  ~Trainer();

  /// One step of every phase. Afterwards `state(phase)` holds the outcome. An error that `feed` throws on some rank lets that
  /// rank take part with zero gradients; then all ranks throw Error with that rank's number and text, and nothing is applied.
  /// Where batch normalisation is synchronised such a rank leaves at once, with its own error, and the others get CommError with
  /// its text. Throws NumericError when steps have been skipped too often at a scale that cannot fall (names the first bad
  /// tensor), and InvalidArgument when the ranks' configurations or steps differ. `stop_requested`: this rank was asked to stop;
  /// `state(phase).stop` tells whether any rank was.
  void step(const Feed& feed, bool stop_requested = false);

  /// As `step`, but comes back while the device is at work on it: `state(phase)` holds the outcome of the step before, whose
  /// errors this throws. True when there is one. After an error no step is under way.
  bool step_ahead(const Feed& feed, bool stop_requested = false);
  /// Waits until no step is under way; then `state(phase)` holds the outcome of the last, whose errors this throws. False when
  /// none was under way. What reads weights or states, such as evaluation, drains first. A trainer that goes with a step under
  /// way aborts.
  bool drain();

  /// Steps that begin from here on are traced; null: no longer. While no step is under way that is traced. The trace outlives
  /// that. Kernels are not enqueued as CUDA graphs meanwhile; results have the same bits.
  void set_trace(StepTrace* trace);

  int phases() const;
  const StepState& state(int phase = 0) const;
  ShardedOptimizer& optimizer(int phase = 0);
  std::int64_t attempted() const { return state(0).attempted; }
  std::int64_t begun() const;  ///< attempted steps and those under way

  Model& model();
  Communicator& communicator();
  Backend& backend();
  Stream& stream();
  const Options& options() const;
  const Plan& plan(int phase = 0) const;  ///< the phase's first

  /// Throws NumericError, as the next step would, where the last update made a weight that its type cannot hold. For those who
  /// use the weights after a run's last step; `gather_weights` and a checkpoint's save do it themselves.
  void check_weights();
  /// Makes every rank's low-precision weights current, for evaluation and export. Throws what `check_weights` throws.
  void gather_weights();
  /// Puts the averages of the weights, where optimizers keep them, into the weights' place, or these back, see
  /// ShardedOptimizer::exchange_averages. No step may be under way or begin in between.
  void exchange_averages();
  /// Name of the parameter that a phase's state calls first bad; empty when none.
  std::string first_bad_parameter(int phase = 0) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Sums over all samples of all ranks.
struct EvaluationResult {
  double loss = 0;      ///< mean per weight
  double accuracy = 0;  ///< in [0, 1]
  double weight = 0;    ///< number of samples
};

/// Enqueues the copies that fill all inputs of `plan`, padding included, with the rank's batch of that index, as a Feed does.
using EvaluationFeed = std::function<void(std::int64_t batch, Plan& plan, Stream& stream)>;
/// Looks at the outputs of `plan` after a batch.
using EvaluationSink = std::function<void(std::int64_t batch, const Plan& plan)>;

/// Runs an evaluation graph over batches that `feed` fills, `batches` of them on every rank, and adds up over the ranks.
/// Collective.
class Evaluator {
 public:
  Evaluator(Trainer& trainer, const Graph& graph, std::int64_t batch);
  Evaluator(Backend& backend, Communicator& communicator, Stream& stream, const Graph& graph, Precision precision,
            std::int64_t batch);
  ~Evaluator();
  EvaluationResult run(std::int64_t batches, const EvaluationFeed& feed, const EvaluationSink& sink = {});

  static std::int64_t staging_bytes();  ///< of host memory, for the sums of a batch

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace minim

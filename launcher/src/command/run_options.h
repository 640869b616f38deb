#pragma once

#include <string>
#include <vector>

#include "command/run_config.h"
#include "minim/model/zoo.h"

namespace minim::command {

/// What an option has a say in; decides what a resumed run may change.
enum class Effect : std::uint8_t {
  numbers,  ///< changes what the run computes
  batch,    ///< as numbers, but free when the number of ranks has changed, so that the global batch can be kept
  length,   ///< where the run ends; changes the numbers only through the schedule
  manner,   ///< how it runs, not what it computes
  place,    ///< where results go; no part of the saved configuration
};

struct OptionInfo {
  const char* name;
  const char* group;
  const char* help;
  Effect effect = Effect::numbers;
  std::vector<std::string> choices = {};
  bool is_flag = false;  ///< of a switch that is off by default: given without a value
};

namespace groups {
inline constexpr const char* kNetwork = "Network and data";
inline constexpr const char* kLength = "Batch and length";
inline constexpr const char* kPrecision = "Precision";
inline constexpr const char* kOptimizer = "Optimizer";
inline constexpr const char* kRanks = "Ranks and device";
inline constexpr const char* kOutput = "Results and progress";
inline constexpr const char* kHidden = "";
}  // namespace groups

/// Calls `visit(OptionInfo, member)` for every option, in the order of the help. The one table of options, which the command
/// line, the configuration file and the rules for resuming read.
template <class Config, class Visitor>
void visit_options(Config& c, Visitor&& visit) {
  using namespace groups;
  using enum Effect;
  visit(OptionInfo{"model", kNetwork, "Network", numbers, zoo_names()}, c.model);
  visit(OptionInfo{"width", kNetwork, "Channels of a ResNet's first stage"}, c.width);
  visit(OptionInfo{"weights", kNetwork,
                   "Start from the weights in this safetensors file, of minim or PyTorch [default: random ones]"},
        c.weights);
  visit(OptionInfo{"label-smoothing", kNetwork, "Probability mass spread over all classes, 0 to 1"}, c.label_smoothing);
  visit(OptionInfo{.name = "sync-batch-norm",
                   .group = kNetwork,
                   .help = "Batch normalisation takes its statistics over the micro-batches of all ranks, not of each by itself",
                   .is_flag = true},
        c.sync_batch_norm);
  visit(OptionInfo{"dataset",
                   kNetwork,
                   "Data set",
                   numbers,
                   {"fashion-mnist", "mnist", "cifar-10", "cifar-100", "image-folder", "webdataset", "synthetic"}},
        c.dataset);
  visit(OptionInfo{"data", kNetwork, "Directory of the data set's files [default: where Debian installs fashion-mnist]", manner},
        c.data);
  visit(OptionInfo{"image-size", kNetwork,
                   "Height and width of synthetic images [default: 28], and of what is seen of photos [default: 224]"},
        c.image_size);
  visit(OptionInfo{"channels", kNetwork,
                   "Channels of synthetic images [default: 1, above 28 pixels 3], and of what is seen of photos [default: 3]"},
        c.channels);
  visit(OptionInfo{"classes", kNetwork,
                   "Classes of synthetic images [default: 10], and of photos that are only planned for [default: 1000]"},
        c.classes);
  visit(OptionInfo{"samples", kNetwork, "Number of synthetic training images [default: 4096]; a quarter as many for testing"},
        c.samples);
  visit(OptionInfo{"augment",
                   kNetwork,
                   "Change training images at random; auto: crop-flip of CIFAR and photos",
                   numbers,
                   {"auto", "none", "crop-flip"}},
        c.augment);
  visit(OptionInfo{"cache-decoded", kNetwork,
                   "MiB of host memory in which a rank keeps training photos that it has decoded; 0: none", manner},
        c.cache_decoded);
  visit(OptionInfo{"seed", kNetwork, "Seed of weights, order of samples, augmentation and dropout"}, c.seed);

  visit(OptionInfo{"batch", kLength, "Samples per rank and micro-batch", batch}, c.batch);
  visit(OptionInfo{"accumulate", kLength, "Micro-batches per step", batch}, c.accumulate);
  visit(OptionInfo{"accumulate-fp32", kPrecision, "Add up the gradients of micro-batches in FP32 rather than in their own type"},
        c.accumulate_fp32);
  visit(OptionInfo{"epochs", kLength, "Passes over the training data", length}, c.epochs);
  visit(OptionInfo{"steps", kLength, "Steps of the run, instead of --epochs", length}, c.steps);

  visit(
      OptionInfo{
          "precision", kPrecision, "fp16 is mixed without FP32 master weights", numbers, {"fp32", "mixed", "fp16", "bf16"}},
      c.precision);
  visit(OptionInfo{"loss-scale", kPrecision,
                   "dynamic, off, or a power of two [default: dynamic where gradients are FP16, else off]"},
        c.loss_scale);
  visit(OptionInfo{"loss-scale-initial", kPrecision, "First dynamic scale, a power of two"}, c.loss_scale_initial);
  visit(OptionInfo{"loss-scale-interval", kPrecision, "Good steps in a row after which a dynamic scale doubles"},
        c.loss_scale_interval);
  visit(
      OptionInfo{.name = "inspect",
                 .group = kPrecision,
                 .help = "Look at the exponents of all tensors in some steps, for `minim inspect`; changes no number of the run",
                 .effect = manner,
                 .is_flag = true},
      c.inspect);
  visit(OptionInfo{"inspect-every", kPrecision, "With --inspect: the first and every so many steps are looked at", manner},
        c.inspect_every);

  visit(
      OptionInfo{"optimizer", kOptimizer, "Update rule", numbers, {"sgd", "adam", "adamw", "adagrad", "rmsprop", "lars", "lamb"}},
      c.optimizer);
  visit(OptionInfo{"lr", kOptimizer,
                   "Learning rate of the global batch [default: sgd 0.02, adagrad and lamb 0.01, lars 2, others 0.001]"},
        c.lr);
  visit(OptionInfo{"momentum", kOptimizer, "Momentum of sgd, rmsprop and lars [default: sgd and lars 0.9, rmsprop 0]"},
        c.momentum);
  visit(OptionInfo{"weight-decay", kOptimizer,
                   "Weight decay, of all but normalisation and bias; adamw's is apart from the gradient [default: adamw and "
                   "lamb 0.01, others 0.0001]"},
        c.weight_decay);
  visit(OptionInfo{"nesterov", kOptimizer, "Nesterov's form of sgd's momentum"}, c.nesterov);
  visit(OptionInfo{"beta1", kOptimizer, "How much of the mean gradient adam, adamw and lamb keep at each step"}, c.beta1);
  visit(OptionInfo{"beta2", kOptimizer, "The same of the mean squared gradient"}, c.beta2);
  visit(OptionInfo{"alpha", kOptimizer, "How much of the mean squared gradient rmsprop keeps at each step"}, c.alpha);
  visit(OptionInfo{"initial-accumulator", kOptimizer, "What adagrad's sum of squared gradients starts from"},
        c.initial_accumulator);
  visit(OptionInfo{"trust-coefficient", kOptimizer, "What lars multiplies its trust ratios by"}, c.trust_coefficient);
  visit(OptionInfo{"epsilon", kOptimizer,
                   "Added to the root of squared gradients that updates are divided by [default: adagrad 1e-10, lamb 1e-6, "
                   "others 1e-8]"},
        c.epsilon);
  visit(OptionInfo{"schedule", kOptimizer, "Learning rate over the run", numbers, {"constant", "step", "cosine", "poly"}},
        c.schedule);
  visit(OptionInfo{"warmup", kOptimizer, "Steps over which the rate rises to --lr"}, c.warmup);
  visit(OptionInfo{"milestones", kOptimizer, "Fractions of the run at which --schedule step multiplies the rate by --gamma"},
        c.milestones);
  visit(OptionInfo{"gamma", kOptimizer, "Factor at each milestone"}, c.gamma);
  visit(OptionInfo{"power", kOptimizer, "Power of what is left of the run, which --schedule poly multiplies the rate by"},
        c.power);
  visit(OptionInfo{"clip", kOptimizer, "Largest norm of the global gradient; 0: no clipping"}, c.clip);
  visit(OptionInfo{"ema-decay", kOptimizer,
                   "Decay per step of a moving average of the weights, which evaluation and export then use; 0: none"},
        c.ema_decay);

  visit(OptionInfo{"grad-sync", kRanks, "How gradients are added", numbers, {"all-reduce", "reduce-scatter", "fp32-accumulate"}},
        c.grad_sync);
  visit(OptionInfo{"shard", kRanks, "Spread master weights and moments over the ranks"}, c.shard);
  visit(OptionInfo{"bucket-mb", kRanks, "Gradients are reduced in messages of about so many MiB"}, c.bucket_mb);
  visit(OptionInfo{"deadline", kRanks, "Seconds that a collective waits for a silent rank", manner}, c.deadline);
  visit(OptionInfo{"device", kRanks, "Where to compute", manner, {"auto", "cpu", "cuda"}}, c.device);
  visit(OptionInfo{"cuda-graph",
                   kRanks,
                   "Capture the kernels of a step and launch them together; auto: where they can be captured",
                   manner,
                   {"auto", "on", "off"}},
        c.cuda_graph);
  visit(
      OptionInfo{
          "autotune",
          kRanks,
          "CUDA: time cuDNN's plans once for each kind of device and keep the fastest (in $MINIM_PLAN_CACHE); off: its first",
          manner,
          {"on", "off"}},
      c.autotune);
  visit(OptionInfo{"threads", kRanks, "Threads of a rank; 0: its share of the node's cores", manner}, c.threads);
  visit(OptionInfo{"data-threads", kRanks, "Threads of a rank that read ahead; 0: one, with CUDA as many as --threads", manner},
        c.data_threads);
  visit(OptionInfo{"ranks-per-node", kHidden, "Test hook: pretend nodes of so many ranks"}, c.ranks_per_node);

  visit(OptionInfo{"output", kOutput, "Directory of the results [default: runs/MODEL-DATASET-TIME]", place}, c.output);
  visit(OptionInfo{"eval-every", kOutput, "Evaluate after every so many epochs; 0: at the end only", manner}, c.eval_every);
  visit(OptionInfo{"checkpoint-every", kOutput, "Save after every so many steps; 0: after every epoch", manner},
        c.checkpoint_every);
  visit(OptionInfo{"keep", kOutput, "Checkpoints that are kept", manner}, c.keep);
  visit(OptionInfo{"log-every", kOutput, "Steps between records in metrics.jsonl and lines of plain output", manner},
        c.log_every);
  visit(OptionInfo{"tensorboard", kOutput,
                   "Write the records of metrics.jsonl, and histograms of the weights at each evaluation, for TensorBoard, too",
                   manner},
        c.tensorboard);
  visit(OptionInfo{"trace", kOutput, "Record when everything in this step ran, in trace.json, for Perfetto; 0: no step", manner},
        c.trace);
  visit(OptionInfo{"save-before", kOutput, "Save and leave so many seconds before a Slurm allocation ends", manner},
        c.save_before);
  visit(OptionInfo{"progress", kOutput, "Display", manner, {"auto", "bar", "plain", "none"}}, c.progress);
}

}  // namespace minim::command

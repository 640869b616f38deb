#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "minim/optimizer/sharded_optimizer.h"

namespace minim::command {

/// Stands for what is usual for the optimizer, where 0 has a meaning of its own.
inline constexpr double kUsual = -1;

/// Everything that a training run is told. Each member is an option of the command line and a key of the configuration file.
struct RunConfig {
  std::string model = "lenet";
  std::int64_t width = 64;
  double label_smoothing = 0;
  bool sync_batch_norm = false;
  std::string weights;  ///< empty: random ones
  std::string dataset = "fashion-mnist";
  std::string data;
  std::int64_t image_size = 0, channels = 0, classes = 0;  ///< 0: as in data_outline.h
  std::int64_t samples = 0;                                ///< likewise
  std::string augment = "auto";
  std::int64_t cache_decoded = 0;  ///< MiB
  std::uint64_t seed = 1;

  std::int64_t batch = 64;
  std::int64_t accumulate = 1;
  bool accumulate_fp32 = false;
  std::int64_t epochs = 3;
  std::int64_t steps = 0;  ///< 0: by epochs

  std::string precision = "mixed";
  std::string loss_scale = "auto";
  double loss_scale_initial = 65536;
  std::int64_t loss_scale_interval = 2000;
  bool inspect = false;
  std::int64_t inspect_every = 100;

  std::string optimizer = "sgd";
  double lr = 0;  ///< 0: what is usual for the optimizer
  double momentum = kUsual;
  double weight_decay = kUsual;
  bool nesterov = false;
  double beta1 = 0.9, beta2 = 0.999;
  double alpha = 0.99;
  double initial_accumulator = 0;
  double trust_coefficient = 0.001;
  double epsilon = 0;  ///< 0: what is usual
  std::string schedule = "cosine";
  std::int64_t warmup = 0;
  std::string milestones = "0.5,0.75";
  double gamma = 0.1;
  double power = 1;
  double clip = 0;
  double ema_decay = 0;

  std::string grad_sync = "all-reduce";
  bool shard = true;
  double bucket_mb = 25;
  double deadline = 60;
  std::string device = "auto";
  std::string cuda_graph = "auto";
  std::string autotune = "on";
  std::int64_t threads = 0;
  std::int64_t data_threads = 0;  ///< 0: one, with CUDA all that the rank has
  std::int64_t ranks_per_node = 0;

  std::string output;
  std::int64_t eval_every = 1;
  std::int64_t checkpoint_every = 0;
  std::int64_t keep = 2;
  std::int64_t log_every = 50;
  bool tensorboard = false;
  std::int64_t trace = 0;  ///< the step that is traced; 0: none
  double save_before = 120;
  std::string progress = "auto";
};

/// Fills in what depends on other options and refuses what does not fit. Throws InvalidArgument that names the option.
RunConfig resolve(RunConfig config);

/// The configuration as TOML, all options but those of `Effect::place`, grouped as in the help.
std::string to_toml(const RunConfig& config);
/// Hash of what must be equal on all ranks.
std::uint64_t configuration_hash(const RunConfig& config);

/// Options of `now` that a run started with `before` cannot take over when it is resumed: one sentence on the first, or empty.
std::string resume_conflict(const RunConfig& before, const RunConfig& now, bool same_world_size);

/// Bytes of --cache-decoded.
inline std::int64_t cache_bytes(const RunConfig& config) { return config.cache_decoded * 1024 * 1024; }

/// Whether the data set consists of image files, which are decoded as they are wanted.
bool has_photos(const RunConfig& config);

/// The optimizer of a run of `total_steps`; `config` is resolved.
OptimizerConfig optimizer_config(const RunConfig& config, std::int64_t total_steps);
LossScaleConfig loss_scale_config(const RunConfig& config);

}  // namespace minim::command

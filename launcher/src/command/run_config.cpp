#include "command/run_config.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <limits>
#include <type_traits>

#include "command/rule_config.h"
#include "command/run_options.h"
#include "command/toml.h"
#include "minim/optimizer/loss_scaler.h"

namespace minim::command {
namespace {

std::string toml_value(const std::string& value) { return toml_string(value); }
std::string toml_value(bool value) { return value ? "true" : "false"; }
std::string toml_value(double value) { return fmt::format("{}", value); }  // shortest text that reads back as the same number
std::string toml_value(std::int64_t value) { return fmt::format("{}", value); }
std::string toml_value(std::uint64_t value) { return fmt::format("{}", value); }

template <class T>
void require_at_least(const char* option, T value, T least) {
  if (!(value >= least)) throw InvalidArgument(fmt::format("--{} is {}, it must be at least {}", option, value, least));
}

/// `most` is far beyond any use; it keeps what is computed from the value within its type.
template <class T>
void require_within(const char* option, T value, T least, T most) {
  require_at_least(option, value, least);
  if (!(value <= most)) throw InvalidArgument(fmt::format("--{} is {}, it must be at most {}", option, value, most));
}

void require_fraction(const char* option, double value) {
  if (!(value >= 0 && value < 1))
    throw InvalidArgument(fmt::format("--{} is {}, it must be at least 0 and below 1", option, value));
}

double parse_number(std::string_view option, std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    throw InvalidArgument(fmt::format("--{}: \"{}\" is not a number", option, text));
  }
  return value;
}

std::vector<double> parse_milestones(std::string_view text) {
  std::vector<double> fractions;
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    fractions.push_back(parse_number("milestones", text.substr(0, comma)));
    if (!(fractions.back() > 0 && fractions.back() < 1)) {
      throw InvalidArgument(fmt::format("--milestones: {} is not a fraction of the run, between 0 and 1", fractions.back()));
    }
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return fractions;
}

bool gradients_are_fp16(const RunConfig& config) { return compute_dtype(parse_precision(config.precision)) == DType::fp16; }

void check_data(const RunConfig& config) {
  require_within<std::int64_t>("cache-decoded", config.cache_decoded, 0, 1 << 30);
  if (config.cache_decoded > 0 && !has_photos(config)) {
    throw InvalidArgument(fmt::format("--cache-decoded is for photos in files; {} has none", config.dataset));
  }
  if (config.augment == "crop-flip" && config.dataset == "synthetic") {
    throw InvalidArgument("--augment crop-flip: synthetic images are not augmented, it can only be none");
  }
  require_within<std::int64_t>("width", config.width, 1, 1 << 16);
  require_fraction("label-smoothing", config.label_smoothing);
  require_within<std::int64_t>("image-size", config.image_size, 0, 1 << 16);
  require_within<std::int64_t>("channels", config.channels, 0, 1 << 16);
  require_within<std::int64_t>("classes", config.classes, 0, 1 << 20);
  require_within<std::int64_t>("samples", config.samples, 0, std::int64_t{1} << 32);
}

void check_numbers(const RunConfig& config) {
  require_within<std::int64_t>("batch", config.batch, 1, 1 << 20);
  require_within<std::int64_t>("accumulate", config.accumulate, 1, 1 << 20);
  require_within<std::int64_t>("epochs", config.epochs, 1, 1 << 30);
  require_at_least<std::int64_t>("steps", config.steps, 0);
  require_at_least<std::int64_t>("loss-scale-interval", config.loss_scale_interval, 1);
  require_at_least("lr", config.lr, 0.0);
  require_fraction("momentum", config.momentum);
  require_fraction("beta1", config.beta1);
  require_fraction("beta2", config.beta2);
  require_fraction("alpha", config.alpha);
  require_at_least("epsilon", config.epsilon, 0.0);
  require_at_least("initial-accumulator", config.initial_accumulator, 0.0);
  if (!(config.trust_coefficient > 0)) {
    throw InvalidArgument(fmt::format("--trust-coefficient is {}, it must be above 0", config.trust_coefficient));
  }
  require_at_least("weight-decay", config.weight_decay, 0.0);
  require_at_least<std::int64_t>("warmup", config.warmup, 0);
  require_at_least("clip", config.clip, 0.0);
  require_fraction("ema-decay", config.ema_decay);
  if (!(config.power > 0)) throw InvalidArgument(fmt::format("--power is {}, it must be above 0", config.power));
  if (!(config.gamma > 0 && config.gamma <= 1)) {
    throw InvalidArgument(fmt::format("--gamma is {}, it must be above 0 and at most 1", config.gamma));
  }
  parse_milestones(config.milestones);
}

void check_manner(const RunConfig& config) {
  if (!(config.bucket_mb > 0 && config.bucket_mb <= 4096)) {
    throw InvalidArgument(fmt::format("--bucket-mb is {}, it must be above 0 and at most 4096", config.bucket_mb));
  }
  require_within("deadline", config.deadline, 0.1, 1e6);
  require_within<std::int64_t>("threads", config.threads, 0, 1 << 12);
  require_within<std::int64_t>("data-threads", config.data_threads, 0, 1 << 12);
  require_within<std::int64_t>("ranks-per-node", config.ranks_per_node, 0, 1 << 20);
  require_at_least<std::int64_t>("eval-every", config.eval_every, 0);
  require_at_least<std::int64_t>("checkpoint-every", config.checkpoint_every, 0);
  require_within<std::int64_t>("keep", config.keep, 1, 1 << 30);
  require_at_least<std::int64_t>("log-every", config.log_every, 1);
  require_at_least<std::int64_t>("trace", config.trace, 0);
  require_at_least<std::int64_t>("inspect-every", config.inspect_every, 1);
  require_within("save-before", config.save_before, 0.0, 1e9);
}

struct Difference {
  std::string option, before, now;
  Effect effect;
};

std::vector<Difference> differences(const RunConfig& before, const RunConfig& now) {
  std::vector<std::string> values;
  visit_options(before, [&](const OptionInfo&, const auto& value) { values.push_back(toml_value(value)); });
  std::vector<Difference> result;
  std::size_t i = 0;
  visit_options(now, [&](const OptionInfo& info, const auto& value) {
    const std::string text = toml_value(value);
    if (text != values[i]) result.push_back({info.name, values[i], text, info.effect});
    ++i;
  });
  return result;
}

}  // namespace

RunConfig resolve(RunConfig config) {
  config = with_usual_numbers(std::move(config));
  check_data(config);
  check_numbers(config);
  check_manner(config);
  check_rule(config);
  if (config.loss_scale == "auto") config.loss_scale = gradients_are_fp16(config) ? "dynamic" : "off";
  if (config.loss_scale != "off" && !gradients_are_fp16(config)) {
    throw InvalidArgument(fmt::format("--loss-scale {} is for FP16 gradients: with --precision {} it can only be off",
                                      config.loss_scale, config.precision));
  }
  if (config.augment == "auto") {
    config.augment = has_photos(config) || config.dataset.starts_with("cifar") ? "crop-flip" : "none";
  }
  try {
    validate(loss_scale_config(config));
  } catch (const InvalidArgument& error) {
    throw InvalidArgument(fmt::format("--loss-scale {}: {}", config.loss_scale, error.what()));
  }
  return config;
}

std::string to_toml(const RunConfig& config) {
  std::string text, group;
  visit_options(config, [&](const OptionInfo& info, const auto& value) {
    if (info.effect == Effect::place) return;
    if (info.group != group && *info.group != '\0') {
      group = info.group;
      text += fmt::format("{}# {}\n", text.empty() ? "" : "\n", group);
    }
    text += fmt::format("{} = {}\n", info.name, toml_value(value));
  });
  return text;
}

std::uint64_t configuration_hash(const RunConfig& config) {
  std::uint64_t hash = 0xcbf29ce484222325U;  // FNV-1a
  visit_options(config, [&](const OptionInfo& info, const auto& value) {
    if (info.effect == Effect::place || info.effect == Effect::manner) return;
    for (const char c : toml_value(value) + '\n') hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  });
  return hash;
}

std::string resume_conflict(const RunConfig& before, const RunConfig& now, bool same_world_size) {
  for (const Difference& difference : differences(before, now)) {
    const bool free = difference.effect == Effect::manner || difference.effect == Effect::place ||
                      (difference.effect == Effect::batch && !same_world_size);
    if (free) continue;
    if (difference.effect == Effect::length) {
      if (now.schedule == "constant") continue;
      return fmt::format("--{} {} differs from the run's {}, and its {} schedule depends on it: resume without it",
                         difference.option, difference.now, difference.before, now.schedule);
    }
    return fmt::format("--{} {} differs from the run's {}: resume without it, or start another run with --config",
                       difference.option, difference.now, difference.before);
  }
  return {};
}

bool has_photos(const RunConfig& config) { return config.dataset == "image-folder" || config.dataset == "webdataset"; }

LossScaleConfig loss_scale_config(const RunConfig& config) {
  LossScaleConfig result;
  result.growth_interval = static_cast<int>(std::min<std::int64_t>(config.loss_scale_interval, std::numeric_limits<int>::max()));
  if (config.loss_scale == "dynamic") {
    result.initial = static_cast<float>(config.loss_scale_initial);
  } else if (config.loss_scale == "off") {
    result.mode = LossScaleMode::off;
    result.initial = 1;
  } else {
    result.mode = LossScaleMode::constant;
    result.initial = static_cast<float>(parse_number("loss-scale", config.loss_scale));
  }
  return result;
}

OptimizerConfig optimizer_config(const RunConfig& config, std::int64_t total_steps) {
  OptimizerConfig result;
  result.rule = update_rule(config);
  result.loss_scale = loss_scale_config(config);
  result.schedule = {
      .kind = parse_schedule(config.schedule), .base = config.lr, .warmup_steps = config.warmup, .total_steps = total_steps};
  result.schedule.gamma = config.gamma;
  result.schedule.power = config.power;
  for (const double fraction : parse_milestones(config.milestones)) {
    result.schedule.milestones.push_back(std::llround(fraction * static_cast<double>(total_steps)));
  }
  result.clip_norm = config.clip;
  result.average_decay = config.ema_decay;
  result.accumulate_fp32 = config.accumulate_fp32 && config.accumulate > 1;
  result.grad_sync = parse_grad_sync(config.grad_sync);
  result.shard = config.shard;
  result.precision = parse_precision(config.precision);
  result.groups.front().weight_decay = config.weight_decay;
  result.buckets.bucket_bytes = static_cast<std::int64_t>(config.bucket_mb * 1024 * 1024);
  return result;
}

}  // namespace minim::command

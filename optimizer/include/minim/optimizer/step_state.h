#pragma once

#include <cstdint>

namespace minim {

inline constexpr int kMaxGroups = 8;  ///< parameter groups of a phase

/// How the loss scale moves.
enum class LossScaleMode : std::uint8_t {
  dynamic,   ///< halved after a skip, doubled after `growth_interval` good steps in a row
  constant,  ///< stays at its first value
  off,       ///< stays at 1
};

struct LossScaleConfig {
  LossScaleMode mode = LossScaleMode::dynamic;
  float initial = 65536.0F;  ///< a power of two in [minimum, maximum]
  float minimum = 1.0F;
  float maximum = 16777216.0F;  ///< 2^24
  int growth_interval = 2000;
  int max_consecutive_skips = 20;  ///< at a scale that cannot fall, so many skips in a row end the run
};

/// What a step decided.
enum class Outcome : std::int32_t {
  none = 0,     ///< no step yet
  applied = 1,
  skipped = 2,  ///< something was not finite, or no rank had a sample; nothing was applied
  failed = 3,   ///< a rank reported an error or the ranks disagree; nothing was applied and the run stops
};

/// Values of `error_code` that the optimizer itself uses. Codes from 1 to 999 belong to the program that calls `finish_step`.
enum class AgreementError : std::int32_t {
  none = 0,
  weight_overflow = 1000,      ///< the last update made a weight that its storage type cannot hold; `first_bad_parameter` is it
  steps_differ = -1,           ///< a rank is at another step than rank 0
  configurations_differ = -2,  ///< a rank runs another configuration than rank 0
};

/// What one rank tells the others at the end of a step. Fixed size: gathered as bytes.
struct AgreementRecord {
  std::int64_t non_finite = 0;          ///< non-finite gradient values in the rank's own slices
  std::int32_t first_bad_parameter = -1;  ///< index in the optimizer's parameter list; -1: none
  std::int32_t error_code = 0;          ///< not 0: this rank had an error of its own
  std::int32_t stop_requested = 0;      ///< a signal or the end of the allocation
  std::int32_t padding = 0;
  std::int64_t step = 0;                ///< attempted steps, must be equal on all ranks
  std::uint64_t configuration = 0;      ///< hash of what must be equal on all ranks
  double loss = 0;                      ///< sum of weighted losses of the rank's samples
  double weight = 0;                    ///< sum of weights of the rank's samples
  double correct = 0;                   ///< sum of weights of the rank's samples that were predicted right
  double sum_squares[kMaxGroups] = {};  ///< per parameter group, of gradients times 2^p / S
};

/// The state that decides the next step; equal on all ranks. Lives on the device, is part of every checkpoint.
/// `loss_scale` is the first member: losses read it through a [1] view.
struct StepState {
  float loss_scale = 65536.0F;       ///< S
  std::int32_t good_steps = 0;       ///< in a row, up to the growth interval; 0 after every skip and every growth
  std::int64_t applied = 0;          ///< steps whose update was applied
  std::int64_t attempted = 0;        ///< all steps
  std::int32_t consecutive_skips = 0;  ///< in a row at a scale that could not fall; 0 after an update and after every fall of S
  std::int32_t probing = 0;          ///< 1 from a growth of S until the next step has been decided

  // The decision of the last step, read by the update kernels and later by the host.
  std::int32_t outcome = 0;          ///< Outcome
  std::int32_t last_applied = 0;     ///< 1 when outcome is applied
  std::int32_t stop = 0;             ///< some rank asked to stop
  std::int32_t failed_rank = -1;     ///< first rank that reported an error, or that differs from rank 0
  std::int32_t error_code = 0;       ///< its code; see AgreementError
  std::int32_t exhausted = 0;        ///< 1: consecutive skips at a scale that cannot fall have used up their number
  std::int32_t probe_failed = 0;     ///< 1: the skip came right after a growth, as expected of a probe
  std::int32_t first_bad_parameter = -1;  ///< lowest index over all ranks; after a failure that of the failed rank
  std::int64_t non_finite = 0;       ///< gradient values over all ranks
  float used_loss_scale = 0;         ///< S that scaled the loss of the last step
  float learning_rate = 0;           ///< base rate that the last step used
  float unscale[kMaxGroups] = {};    ///< n0 / (S * total weight) * clip factor, per group; a bucket's 2^p comes on top
  double gradient_norm = 0;          ///< over all groups, unscaled, before clipping; 0 unless applied
  double loss = 0;                   ///< sums over all ranks
  double weight = 0;
  double correct = 0;
};

}  // namespace minim

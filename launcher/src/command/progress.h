#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>

namespace minim::command {

enum class ProgressStyle : std::uint8_t { bar, plain, none };

/// What is shown of a step.
struct ProgressState {
  std::int64_t step = 0, total_steps = 0;
  std::int64_t epoch = 0, epochs = 0;  ///< epochs 0: the run's length is given in steps
  double loss = 0, accuracy = 0;
  double images_per_second = 0;
  double loss_scale = 1;
  std::int64_t skipped = 0;
  double seconds_left = 0;
};

/// "epoch 1/3  step 120/1407  loss 0.4312  accuracy 84.2%  5120 images/s  scale 65536  skipped 1  left 0:24"
std::string plain_line(const ProgressState& state);
/// The same with a bar in front, in fewer words where it has to fit into fewer columns.
std::string bar_line(const ProgressState& state, int columns);

/// Shows progress on a stream: a line that is drawn over and over, or a line now and then. Does nothing for `none`.
class Progress {
 public:
  Progress(std::FILE* stream, ProgressStyle style);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// After a step. `logged`: this step has a record in the metrics, and a line in plain output.
  void step(const ProgressState& state, bool logged);
  /// A line of its own, above the bar.
  void message(const std::string& text);
  /// Ends the bar's line.
  void finish();

 private:
  void clear();

  std::FILE* stream_;
  ProgressStyle style_;
  std::chrono::steady_clock::time_point drawn_{};
  bool open_ = false;  ///< a bar is on the current line
};

/// Steps per second of late, and from that the time left.
class RateMeter {
 public:
  /// One step took so long.
  void add(double seconds);
  double steps_per_second() const { return rate_; }
  double seconds_left(std::int64_t steps) const;

 private:
  double elapsed_seconds_ = 0;
  double rate_ = 0;
};

}  // namespace minim::command

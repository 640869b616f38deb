#pragma once

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "minim/launcher/trainer.h"

namespace minim::command {

/// `metrics.jsonl`: one JSON object per line, each on disk before the next step. Every record has "event" and "step" (attempted
/// steps). Records depend on the run only, fields that end in "_seconds" or "_per_second" aside: a resumed run leaves the same
/// file.
class Metrics {
 public:
  /// Opens the file for appending. Throws DataError that names it.
  explicit Metrics(std::filesystem::path file);
  /// Removes records beyond `step`, and a last one that is not whole: what a run that was killed wrote after its checkpoint.
  /// No file is an empty file.
  static void truncate(const std::filesystem::path& file, std::int64_t step);
  /// Whether the file has an evaluation after `step`.
  static bool has_evaluation(const std::filesystem::path& file, std::int64_t step);

  struct Step {
    std::int64_t epoch = 0;
    double samples_per_second = 0;
    double elapsed_seconds = 0;
  };
  void step(const StepState& state, const Step& step);
  void evaluation(const StepState& state, std::int64_t epoch, const EvaluationResult& result, double elapsed_seconds);
  /// A skipped step, with the first tensor that was not finite.
  void skip(const StepState& state, const std::string& tensor);
  /// The scale doubled.
  void growth(const StepState& state);
  /// Skips that a file has recorded, in order. No file has none.
  struct Skip {
    std::int64_t step = 0;
    std::string tensor;  ///< as `skip` was given it
    double used_loss_scale = 1;
  };
  static std::vector<Skip> skips(const std::filesystem::path& file);
  /// Waits until everything is on disk.
  void synchronize();

 private:
  void write(const std::string& line);

  std::filesystem::path path_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
};

}  // namespace minim::command

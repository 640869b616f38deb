#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "minim/launcher/at_work.h"

namespace minim {

/// Where a run keeps its checkpoints.
class CheckpointLayout {
 public:
  explicit CheckpointLayout(const std::filesystem::path& run) : root_(run / "checkpoints") {}

  const std::filesystem::path& root() const { return root_; }
  /// "checkpoints/step-00000120".
  std::filesystem::path final_name(std::int64_t step) const;
  /// Where it is written before it gets that name, and where it is taken to be removed.
  std::filesystem::path partial_name(std::int64_t step) const;

  /// Steps that there are directories of, in ascending order; whether they are sound is another question. Empty where there is
  /// none.
  std::vector<std::int64_t> steps() const;
  /// Removes what saves that were cut off have left.
  void remove_partial(const AtWork& at_work) const;

 private:
  std::filesystem::path root_;
};

}  // namespace minim

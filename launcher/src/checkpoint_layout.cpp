#include "checkpoint_layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "checkpoint_file.h"

namespace minim {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "step-";
constexpr std::string_view kPartialPrefix = ".step-";
constexpr std::string_view kPartialSuffix = ".partial";

std::optional<std::int64_t> step_of(const std::string& name) {
  if (!name.starts_with(kPrefix)) return {};
  std::int64_t step = 0;
  const char* end = name.data() + name.size();
  const auto result = std::from_chars(name.data() + kPrefix.size(), end, step);
  if (result.ec != std::errc() || result.ptr != end || step < 0) return {};
  return step;
}

std::vector<std::string> names_in(const fs::path& directory) {
  std::vector<std::string> names;
  std::error_code failure;
  fs::directory_iterator entry(directory, failure);
  if (failure == std::errc::no_such_file_or_directory) return names;
  while (!failure && entry != fs::directory_iterator()) {
    names.push_back(entry->path().filename().string());
    entry.increment(failure);
  }
  check_system(failure, "list", directory);
  return names;
}

}  // namespace

fs::path CheckpointLayout::final_name(std::int64_t step) const { return root_ / fmt::format("{}{:08}", kPrefix, step); }

fs::path CheckpointLayout::partial_name(std::int64_t step) const {
  return root_ / fmt::format("{}{:08}{}", kPartialPrefix, step, kPartialSuffix);
}

std::vector<std::int64_t> CheckpointLayout::steps() const {
  std::vector<std::int64_t> steps;
  for (const std::string& name : names_in(root_)) {
    // Another spelling of the same number is not a name that we give.
    if (const auto step = step_of(name); step && final_name(*step).filename() == name) steps.push_back(*step);
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

void CheckpointLayout::remove_partial(const AtWork& at_work) const {
  for (const std::string& name : names_in(root_)) {
    if (!name.starts_with(kPartialPrefix)) continue;
    remove_directory(root_ / name, at_work);
    std::error_code failure;  // of what is still there
    fs::remove_all(root_ / name, failure);
    check_system(failure, "remove", root_ / name);
  }
}

}  // namespace minim

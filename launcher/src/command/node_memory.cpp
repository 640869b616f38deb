#include "command/node_memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

namespace minim::command {
namespace {

namespace fs = std::filesystem;

/// The number behind `key` in lines of "key number", as in /proc/meminfo and memory.stat.
std::optional<std::int64_t> keyed_number(const fs::path& file, std::string_view key) {
  std::ifstream stream(file);
  std::string name, rest;
  std::int64_t value = 0;
  while (stream >> name >> value) {
    if (name == key) return value;
    std::getline(stream, rest);
  }
  return {};
}

/// A file that holds one number; nothing where it is not there or says "max".
std::optional<std::int64_t> number_in(const fs::path& file) {
  std::ifstream stream(file);
  std::int64_t value = 0;
  return stream >> value ? std::optional(value) : std::nullopt;
}

/// The files of one version of control groups.
struct GroupFiles {
  const char* mount;
  const char* limit;
  const char* usage;
  const char* inactive_cache;  ///< keys of memory.stat, for pages that only hold what is on disk
  const char* active_cache;
};
constexpr GroupFiles kVersion1 = {"sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file",
                                  "total_active_file"};
constexpr GroupFiles kVersion2 = {"sys/fs/cgroup", "memory.max", "memory.current", "inactive_file", "active_file"};

void lower_to_group(std::optional<std::int64_t>& available, const fs::path& group, const GroupFiles& files) {
  const auto limit = number_in(group / files.limit);
  const auto usage = number_in(group / files.usage);
  if (!limit || !usage) return;
  const std::int64_t cache = keyed_number(group / "memory.stat", files.inactive_cache).value_or(0) +
                             keyed_number(group / "memory.stat", files.active_cache).value_or(0);
  const std::int64_t left = std::max<std::int64_t>(0, *limit - std::max<std::int64_t>(0, *usage - cache));
  available = std::min(available.value_or(left), left);
}

/// The group that a process is in and all around it. In a container the outer ones are out of sight, and the innermost may lie at
/// the mount itself.
void lower_to_groups(std::optional<std::int64_t>& available, const fs::path& root, std::string_view group,
                     const GroupFiles& files) {
  const fs::path mount = root / files.mount;
  fs::path inner(group);
  for (inner = inner.relative_path(); !inner.empty(); inner = inner.parent_path()) {
    lower_to_group(available, mount / inner, files);
  }
  lower_to_group(available, mount, files);
}

bool has_memory_controller(std::string_view controllers) {
  while (!controllers.empty()) {
    const std::size_t comma = std::min(controllers.find(','), controllers.size());
    if (controllers.substr(0, comma) == "memory") return true;
    controllers.remove_prefix(std::min(comma + 1, controllers.size()));
  }
  return false;
}

}  // namespace

std::optional<std::int64_t> available_memory_bytes(const fs::path& root) {
  auto available = keyed_number(root / "proc/meminfo", "MemAvailable:");
  if (available) *available *= 1024;
  // Lines of "hierarchy:controllers:group"; that of version 2 has no controllers (cgroups(7)).
  std::ifstream groups(root / "proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string_view controllers = std::string_view(line).substr(first + 1, second - first - 1);
    const std::string_view group = std::string_view(line).substr(second + 1);
    if (controllers.empty()) lower_to_groups(available, root, group, kVersion2);
    if (has_memory_controller(controllers)) lower_to_groups(available, root, group, kVersion1);
  }
  return available;
}

MemoryShare memory_share(std::optional<std::int64_t> available_bytes, int local_size, int rank) {
  MemoryShare share{.ranks = local_size, .rank = rank};
  if (available_bytes) share.size_bytes = *available_bytes / local_size;
  return share;
}

MemoryShare smallest_share(Communicator& communicator, const MemoryShare& own) {
  std::vector<MemoryShare> shares(static_cast<std::size_t>(communicator.size()));
  shares[static_cast<std::size_t>(communicator.rank())] = own;
  const TensorView view(shares.data(), DType::uint8, Shape{static_cast<std::int64_t>(shares.size() * sizeof(MemoryShare))});
  communicator.all_gather(view, {.label = "memory of the nodes", .after = {}}).wait();
  return *std::min_element(shares.begin(), shares.end(),
                           [](const MemoryShare& a, const MemoryShare& b) { return a.size_bytes < b.size_bytes; });
}

}  // namespace minim::command

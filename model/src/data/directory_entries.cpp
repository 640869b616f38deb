#include "data/directory_entries.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "minim/runtime/error.h"

namespace minim {

namespace fs = std::filesystem;

std::vector<fs::directory_entry> entries_of(const fs::path& directory) {
  std::error_code failure;
  std::vector<fs::directory_entry> entries;
  auto entry = fs::directory_iterator(directory, failure);
  for (; !failure && entry != fs::directory_iterator(); entry.increment(failure)) {
    if (!entry->path().filename().native().starts_with('.')) entries.push_back(*entry);
  }
  if (failure) throw DataError(fmt::format("{}: cannot be read: {}", directory.string(), failure.message()));
  std::sort(entries.begin(), entries.end());
  return entries;
}

bool is_image_extension(std::string extension) {
  std::transform(extension.begin(), extension.end(), extension.begin(), [](unsigned char c) { return std::tolower(c); });
  return extension == "jpg" || extension == "jpeg" || extension == "png";
}

}  // namespace minim

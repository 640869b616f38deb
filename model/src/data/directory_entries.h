#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace minim {

/// Entries of a directory in the order of their names, without hidden ones. Throws DataError.
std::vector<std::filesystem::directory_entry> entries_of(const std::filesystem::path& directory);

/// Whether an extension, without its dot, is that of images that can be decoded, in upper or lower case.
bool is_image_extension(std::string extension);

}  // namespace minim

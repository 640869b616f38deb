#pragma once

#include <optional>
#include <string>
#include <vector>

#include "minim/launcher/checkpoint.h"

namespace minim::command {

/// The newest checkpoint of a run that is complete and undamaged; `refused` gets a sentence on each that was passed over. Empty
/// when the run has none at all. Throws DataError when it has some and none is sound.
std::optional<CheckpointInfo> newest_checkpoint(const std::filesystem::path& run, std::vector<std::string>& refused,
                                                const AtWork& at_work = {});

/// As newest_checkpoint, for commands that need one: throws DataError when there is none, and says on stderr, where `report` is
/// set, which were passed over.
CheckpointInfo require_checkpoint(const std::filesystem::path& run, bool report, const AtWork& at_work = {});

}  // namespace minim::command

#pragma once

#include "command/run_config.h"

namespace minim::command {

/// `config` with the learning rate, weight decay and numbers of the rule that are usual for its optimizer, where none are given.
RunConfig with_usual_numbers(RunConfig config);
/// Throws InvalidArgument that names the option.
void check_rule(const RunConfig& config);
/// The update rule; `config` is resolved.
UpdateRule update_rule(const RunConfig& config);

}  // namespace minim::command

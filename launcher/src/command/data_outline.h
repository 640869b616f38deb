#pragma once

#include "command/run_config.h"
#include "minim/model/zoo.h"

namespace minim::command {

/// A data set as far as it is known without its files.
struct DataOutline {
  ImageTask task;
  std::int64_t training_images = 0;
};

/// What --dataset usually has, and in its place what the configuration says of it; `config` is resolved.
DataOutline outline_of(const RunConfig& config);

}  // namespace minim::command

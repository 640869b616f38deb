#include "command/data_outline.h"

namespace minim::command {
namespace {

DataOutline usual(const std::string& dataset) {
  if (dataset == "synthetic") return {.task = {}, .training_images = 4096};
  if (dataset == "cifar-10") return {.task = {.height = 32, .width = 32, .channels = 3, .classes = 10}, .training_images = 50000};
  if (dataset == "cifar-100")
    return {.task = {.height = 32, .width = 32, .channels = 3, .classes = 100}, .training_images = 50000};
  if (dataset == "image-folder" || dataset == "webdataset") {  // as ImageNet
    return {.task = {.height = 224, .width = 224, .channels = 3, .classes = 1000}, .training_images = 1281167};
  }
  return {.task = {}, .training_images = 60000};  // of both kinds of MNIST
}

}  // namespace

DataOutline outline_of(const RunConfig& config) {
  DataOutline outline = usual(config.dataset);
  ImageTask& task = outline.task;
  if (config.image_size > 0) task.height = task.width = config.image_size;
  if (config.channels > 0) {
    task.channels = config.channels;
  } else if (task.height > 28) {
    task.channels = 3;
  }
  if (config.classes > 0) task.classes = config.classes;
  if (config.samples > 0) outline.training_images = config.samples;
  return outline;
}

}  // namespace minim::command

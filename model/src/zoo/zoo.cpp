#include "minim/model/zoo.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "minim/runtime/error.h"
#include "zoo/networks.h"

namespace minim {

namespace {

struct Entry {
  std::string_view name;
  Value (*build)(const zoo::Setting& setting);
};

constexpr Entry kNetworks[] = {
    {"alexnet", zoo::alexnet},
    {"googlenet", zoo::googlenet},
    {"inception-v2", zoo::inception_v2},
    {"inception-v3", zoo::inception_v3},
    {"lenet", zoo::lenet},
    {"resnet-18", zoo::resnet_18},
    {"resnet-34", zoo::resnet_34},
    {"resnet-50", zoo::resnet_50},
    {"resnet-101", zoo::resnet_101},
    {"vgg-d", zoo::vgg_d},
};

void check_task(const ImageTask& task, const ZooOptions& options) {
  if (task.channels < 1 || task.classes < 1) {
    throw InvalidArgument(
        fmt::format("images of {} channels in {} classes, wanted at least 1 of each", task.channels, task.classes));
  }
  if (options.width < 1) throw InvalidArgument(fmt::format("width {}, wanted at least 1", options.width));
}

}  // namespace

bool zoo::is_small(const ImageTask& task, std::int64_t large) { return std::min(task.height, task.width) < large; }

void zoo::expect_pixels(std::string_view model, const ImageTask& task, std::int64_t smallest) {
  if (std::min(task.height, task.width) >= smallest) return;
  throw InvalidArgument(
      fmt::format("{}: images have {} x {} pixels, wanted at least {} x {}", model, task.height, task.width, smallest, smallest));
}

void zoo::auxiliary_loss(const Setting& setting, const std::string& name, Value logits, double weight) {
  setting.graph.softmax_cross_entropy(name, logits, setting.labels,
                                      {.label_smoothing = setting.options.label_smoothing, .weight = weight});
}

std::vector<std::string> zoo_names() {
  std::vector<std::string> names;
  for (const Entry& entry : kNetworks) names.emplace_back(entry.name);
  return names;
}

void build_classifier(Graph& graph, std::string_view model, const ImageTask& task, const ZooOptions& options) {
  const auto* entry = std::ranges::find(kNetworks, model, &Entry::name);
  if (entry == std::end(kNetworks)) {
    throw InvalidArgument(fmt::format("unknown model \"{}\", known are {}", model, fmt::join(zoo_names(), ", ")));
  }
  check_task(task, options);
  const Value valid = graph.input("valid_samples", ElementType::int32, Shape{1});
  const Value images =
      graph.input("images", ElementType::activation, Shape{Shape::kBatch, task.height, task.width, task.channels}, valid);
  const Value labels = graph.input("labels", ElementType::int32, Shape{Shape::kBatch}, valid);

  const Value logits = entry->build({graph, images, labels, task, options});
  const LossValues sums = graph.softmax_cross_entropy("loss", logits, labels, {.label_smoothing = options.label_smoothing});
  graph.output("logits", logits);
  graph.output("loss", sums.loss);
  graph.output("weight", sums.weight);
  graph.output("correct", sums.correct);
}

}  // namespace minim

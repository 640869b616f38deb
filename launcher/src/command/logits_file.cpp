#include "command/logits_file.h"

#include "minim/launcher/safetensors.h"
#include "minim/runtime/transfer.h"

namespace minim::command {

LogitsFile::LogitsFile(std::int64_t images, std::int64_t classes, std::int64_t batch, std::int64_t batches,
                       Communicator& communicator)
    : images_(images),
      classes_(classes),
      batch_(batch),
      batches_(batches),
      communicator_(communicator),
      logits_(static_cast<std::size_t>(communicator.size() * batches * batch * classes)) {}

void LogitsFile::take(std::int64_t index, const Plan& plan, Backend& backend) {
  const auto begin = static_cast<std::size_t>((communicator_.rank() * batches_ + index) * batch_ * classes_);
  download(backend, plan.output("logits"), std::span(logits_).subspan(begin, static_cast<std::size_t>(batch_ * classes_)));
}

void LogitsFile::gather() {
  const TensorView all(logits_.data(), DType::fp32, Shape{static_cast<std::int64_t>(logits_.size())});
  communicator_.all_gather(all, {.label = "logits", .after = {}}).wait();
}

void LogitsFile::write(const std::filesystem::path& file) const {
  std::vector<float> ordered;
  ordered.reserve(static_cast<std::size_t>(images_ * classes_));
  for (std::int64_t image = 0; image < images_; ++image) {
    const std::int64_t batch = image / batch_, rank = batch % communicator_.size();
    const std::int64_t row = (rank * batches_ + batch / communicator_.size()) * batch_ + image % batch_;
    const auto begin = logits_.begin() + row * classes_;
    ordered.insert(ordered.end(), begin, begin + classes_);
  }
  const Shape shape{images_, classes_};
  SafetensorsWriter writer(file, {{"logits", DType::fp32, shape}}, {{"writer", "minim"}});
  writer.write(TensorView(ordered.data(), DType::fp32, shape));
  writer.close();
}

}  // namespace minim::command

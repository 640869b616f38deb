#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>

#include "command/histogram.h"

namespace minim::command {

/// A value of a step under the name that TensorBoard shows it by.
struct Scalar {
  const char* tag;
  double value;
};

/// A file that TensorBoard reads, `events.out.tfevents.TIME.HOST`: records framed as TensorFlow's TFRecord, each a message
/// `Event` of its event.proto. Each is with the system before the call returns. Failures are DataErrors that name the file.
class EventFile {
 public:
  /// Makes a new file in `directory`, which TensorBoard reads after those that are there. What they have of steps beyond
  /// `start_step` counts no more.
  EventFile(const std::filesystem::path& directory, std::int64_t start_step);

  void write(std::int64_t step, std::initializer_list<Scalar> scalars);
  void write(std::int64_t step, std::string_view tag, const Histogram& histogram);

 private:
  void write_record(std::string_view event);

  std::filesystem::path path_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
};

}  // namespace minim::command

#include "cudart/settings.h"

#include <charconv>
#include <cstdlib>
#include <numeric>

#include "cudart/refuse.h"

namespace cudart {
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

[[noreturn]] void refuse_setting(const char* name, const std::string& value, const char* wanted) {
  refuse(std::string(name) + " is \"" + value + "\", wanted is " + wanted);
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find(separator, begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

template <class T>
bool parse(const std::string& text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

int read_number(const char* name, int otherwise, const char* wanted) {
  const std::string value = environment(name);
  int number = otherwise;
  if (!value.empty() && (!parse(value, number) || number < 0)) refuse_setting(name, value, wanted);
  return number;
}

Schedule read_schedule() {
  constexpr const char* kName = "MINIM_DOUBLE_SCHEDULE";
  const std::string value = environment(kName);
  Schedule schedule;
  if (value.empty() || value == "eager") return schedule;
  const std::string kind = value.substr(0, value.find(':'));
  const std::string number = kind.size() < value.size() ? value.substr(kind.size() + 1) : "";
  if (value == "lazy") {
    schedule.kind = ScheduleKind::lazy;
  } else if (kind == "random" && parse(number, schedule.seed)) {
    schedule.kind = ScheduleKind::random;
  } else if (kind == "slow" && parse(number, schedule.slow_stream)) {
    schedule.kind = ScheduleKind::slow;
  } else {
    refuse_setting(kName, value, "eager, lazy, random:SEED or slow:STREAM");
  }
  return schedule;
}

std::vector<Failure> read_failures() {
  constexpr const char* kName = "MINIM_DOUBLE_FAIL";
  const std::string value = environment(kName);
  std::vector<Failure> failures;
  for (const std::string& entry : split(value, ',')) {
    const std::vector<std::string> parts = split(entry, ':');
    Failure failure;
    int code = 0;
    if (parts.size() != 3 || !parse(parts[1], failure.call) || !parse(parts[2], code) || failure.call < 1) {
      refuse_setting(kName, value, "FUNCTION:CALL:CODE[,...]");
    }
    failure.function = parts[0];
    failure.code = static_cast<cudaError_t>(code);
    failures.push_back(failure);
  }
  return failures;
}

std::size_t read_memory(std::size_t otherwise) {
  constexpr const char* kName = "MINIM_DOUBLE_MEMORY";
  const std::string value = environment(kName);
  if (value.empty()) return otherwise;
  const std::size_t unit = std::string("KMG").find(value.back());
  const bool has_unit = unit != std::string::npos;
  std::size_t number = 0;
  if (!parse(has_unit ? value.substr(0, value.size() - 1) : value, number)) {
    refuse_setting(kName, value, "a number of bytes, or one with K, M or G");
  }
  return has_unit ? number << (10 * (unit + 1)) : number;
}

/// As the driver does: the list ends before the first entry that names no device.
std::vector<int> read_devices() {
  const int count = read_number("MINIM_DOUBLE_DEVICES", 1, "a number of devices");
  std::vector<int> devices(static_cast<std::size_t>(count));
  std::iota(devices.begin(), devices.end(), 0);
  if (std::getenv("CUDA_VISIBLE_DEVICES") == nullptr) return devices;
  std::vector<int> visible;
  for (const std::string& entry : split(environment("CUDA_VISIBLE_DEVICES"), ',')) {
    int device = -1;
    if (!parse(entry, device) || device < 0 || device >= count) break;
    visible.push_back(device);
  }
  return visible;
}

Settings read_settings() {
  Settings settings;
  settings.schedule = read_schedule();
  settings.failures = read_failures();
  settings.calls_file = environment("MINIM_DOUBLE_CALLS");
  settings.memory_bytes = read_memory(settings.memory_bytes);
  settings.capability = read_number("MINIM_DOUBLE_CAPABILITY", settings.capability, "a compute capability times 10");
  settings.devices = read_devices();
  settings.kernel_libraries = split(environment("MINIM_DOUBLE_KERNELS"), ':');
  return settings;
}

}  // namespace

const Settings& settings() {
  static const Settings& settings = *new Settings(read_settings());  // outlives every thread
  return settings;
}

}  // namespace cudart

#include "command/event_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <span>

#include "checkpoint_file.h"
#include "minim/runtime/error.h"

namespace minim::command {
namespace {

constexpr std::string_view kPrefix = "events.out.tfevents.";

static_assert(std::endian::native == std::endian::little, "numbers go into the file as they lie in memory");

template <class T>
std::string_view bytes_of(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

/// A message in the wire format of protocol buffers: fields, each after a varint of its number and wire type.
class Message {
 public:
  Message& integer(int field, std::int64_t value) {
    key(field, kVarint);
    varint(static_cast<std::uint64_t>(value));
    return *this;
  }
  Message& number(int field, double value) {
    key(field, kFixed64);
    bytes_ += bytes_of(value);
    return *this;
  }
  Message& number(int field, float value) {
    key(field, kFixed32);
    bytes_ += bytes_of(value);
    return *this;
  }
  Message& text(int field, std::string_view value) {
    key(field, kLengthDelimited);
    varint(value.size());
    bytes_ += value;
    return *this;
  }
  Message& message(int field, const Message& value) { return text(field, value.bytes_); }
  Message& numbers(int field, std::span<const double> values) {
    return text(field, {reinterpret_cast<const char*>(values.data()), values.size_bytes()});
  }

  const std::string& bytes() const { return bytes_; }

 private:
  static constexpr unsigned kVarint = 0, kFixed64 = 1, kLengthDelimited = 2, kFixed32 = 5;

  void key(int field, unsigned type) { varint(static_cast<unsigned>(field) << 3U | type); }
  void varint(std::uint64_t value) {
    for (; value >= 0x80U; value >>= 7U) bytes_ += static_cast<char>(value | 0x80U);
    bytes_ += static_cast<char>(value);
  }

  std::string bytes_;
};

// Numbers of fields: TensorFlow's event.proto and summary.proto.
namespace event {
constexpr int kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5, kSessionLog = 7;
}
namespace session_log {
constexpr int kStatus = 1;
constexpr std::int64_t kStart = 1;
}  // namespace session_log
namespace summary {
constexpr int kValue = 1;
namespace value {
constexpr int kTag = 1, kSimpleValue = 2, kHistogram = 5;
}
}  // namespace summary
namespace histogram {
constexpr int kMin = 1, kMax = 2, kCount = 3, kSum = 4, kSumOfSquares = 5, kBucketLimits = 6, kBucketCounts = 7;
}

double wall_time() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

Message new_event(std::int64_t step) {
  Message message;
  message.number(event::kWallTime, wall_time()).integer(event::kStep, step);
  return message;
}

/// CRC-32C (Castagnoli), bit by bit from the least significant one.
constexpr std::array<std::uint32_t, 256> crc32c_table() {
  constexpr std::uint32_t kPolynomial = 0x82f63b78U;  // reversed
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < table.size(); ++i) {
    std::uint32_t remainder = i;
    for (int bit = 0; bit < 8; ++bit) remainder = remainder >> 1U ^ ((remainder & 1U) != 0 ? kPolynomial : 0);
    table[i] = remainder;
  }
  return table;
}

/// The checksum as TFRecord stores it, so that files within files do not look sound by chance.
std::uint32_t masked_crc32c(std::string_view bytes) {
  static constexpr std::array<std::uint32_t, 256> kTable = crc32c_table();
  std::uint32_t crc = ~0U;
  for (const char byte : bytes) crc = crc >> 8U ^ kTable[(crc ^ static_cast<unsigned char>(byte)) & 0xffU];
  return std::rotr(~crc, 15) + 0xa282ead8U;
}

/// Seconds in the name of a file of events; -1 where it is none.
std::int64_t time_in(const std::string& name) {
  if (!name.starts_with(kPrefix)) return -1;
  std::int64_t seconds = -1;
  std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), seconds);
  return seconds;
}

/// TensorBoard reads files in the order of their names.
std::filesystem::path next_file(const std::filesystem::path& directory) {
  auto seconds = static_cast<std::int64_t>(wall_time());
  std::error_code failure;
  for (const auto& entry : std::filesystem::directory_iterator(directory, failure)) {
    seconds = std::max(seconds, time_in(entry.path().filename().string()) + 1);
  }
  check_system(failure, "list", directory);
  std::array<char, 256> host{};
  if (gethostname(host.data(), host.size() - 1) != 0) host = {"unknown"};
  return directory / fmt::format("{}{:010}.{}", kPrefix, seconds, host.data());
}

}  // namespace

EventFile::EventFile(const std::filesystem::path& directory, std::int64_t start_step)
    : path_(next_file(directory)), file_(std::fopen(path_.c_str(), "wbx"), std::fclose) {
  if (!file_) throw DataError(fmt::format("{}: cannot make the file: {}", path_.string(), std::strerror(errno)));
  write_record(Message().number(event::kWallTime, wall_time()).text(event::kFileVersion, "brain.Event:2").bytes());
  const Message start = Message().integer(session_log::kStatus, session_log::kStart);
  write_record(new_event(start_step + 1).message(event::kSessionLog, start).bytes());
}

void EventFile::write(std::int64_t step, std::initializer_list<Scalar> scalars) {
  Message values;
  for (const Scalar& scalar : scalars) {
    Message value;
    value.text(summary::value::kTag, scalar.tag).number(summary::value::kSimpleValue, static_cast<float>(scalar.value));
    values.message(summary::kValue, value);
  }
  write_record(new_event(step).message(event::kSummary, values).bytes());
}

void EventFile::write(std::int64_t step, std::string_view tag, const Histogram& values) {
  Message message;
  message.number(histogram::kMin, values.min)
      .number(histogram::kMax, values.max)
      .number(histogram::kCount, static_cast<double>(values.count))
      .number(histogram::kSum, values.sum)
      .number(histogram::kSumOfSquares, values.sum_of_squares)
      .numbers(histogram::kBucketLimits, values.limits)
      .numbers(histogram::kBucketCounts, values.counts);
  Message value;
  value.text(summary::value::kTag, tag).message(summary::value::kHistogram, message);
  write_record(new_event(step).message(event::kSummary, Message().message(summary::kValue, value)).bytes());
}

/// Length, checksum of the length, event, checksum of the event.
void EventFile::write_record(std::string_view event) {
  const std::uint64_t size = event.size();
  std::string record;
  record += bytes_of(size);
  record += bytes_of(masked_crc32c(bytes_of(size)));
  record += event;
  record += bytes_of(masked_crc32c(event));
  std::fwrite(record.data(), 1, record.size(), file_.get());
  if (std::fflush(file_.get()) != 0) {
    throw DataError(fmt::format("{}: cannot write to the file: {}", path_.string(), std::strerror(errno)));
  }
}

}  // namespace minim::command

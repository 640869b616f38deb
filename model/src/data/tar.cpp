#include "data/tar.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>

namespace minim {
namespace {

constexpr std::int64_t kBlock = 512;

/// Extended headers hold a name and some numbers.
constexpr std::int64_t kMostExtendedBytes = 1 << 20;

using Block = std::array<std::uint8_t, kBlock>;

/// A field of a header up to the first zero. Source: POSIX.1-2017, pax, "ustar Interchange Format".
std::string_view text(const Block& block, std::size_t offset, std::size_t length) {
  const std::string_view field(reinterpret_cast<const char*>(block.data()) + offset, length);
  return field.substr(0, field.find('\0'));
}

/// Octal digits between spaces, or, with the first bit set, GNU's big-endian binary. None where it is neither.
std::optional<std::int64_t> number(const Block& block, std::size_t offset, std::size_t length) {
  if ((block[offset] & 0x80U) != 0) {
    std::int64_t value = block[offset] & 0x7FU;
    for (std::size_t i = 1; i < length; ++i) {
      if (value > INT64_MAX >> 8U) return {};
      value = value << 8U | block[offset + i];
    }
    return value;
  }
  std::string_view digits = text(block, offset, length);
  digits.remove_prefix(std::min(digits.find_first_not_of(' '), digits.size()));
  digits = digits.substr(0, digits.find(' '));
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 8);
  if (error != std::errc() || end != digits.data() + digits.size() || value < 0) return {};
  return value;
}

struct Header {
  std::string name;
  std::int64_t size_bytes;
  char type;
};

/// Of the block at `offset`.
Header parse(const RandomAccessFile& file, const Block& block, std::int64_t offset) {
  constexpr std::size_t kChecksum = 148, kChecksumLength = 8;
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < block.size(); ++i) {
    sum += i >= kChecksum && i < kChecksum + kChecksumLength ? ' ' : block[i];
  }
  const auto checksum = number(block, kChecksum, kChecksumLength);
  if (!checksum || *checksum != sum) {
    file.fail(offset, fmt::format("found no tar header: its bytes sum to {}, its checksum is {}", sum, checksum.value_or(-1)));
  }
  const auto size_bytes = number(block, 124, 12);
  if (!size_bytes) file.fail(offset + 124, "the size of a member is not a number");
  std::string name(text(block, 0, 100));
  const bool is_ustar = text(block, 257, 6) == "ustar";  // GNU's own format, "ustar  ", has other fields in the prefix's place
  if (const auto prefix = text(block, 345, 155); is_ustar && !prefix.empty()) name = fmt::format("{}/{}", prefix, name);
  return {std::move(name), *size_bytes, static_cast<char>(block[156])};
}

/// What extended headers say of the member that follows.
struct Extended {
  std::optional<std::string> name;
  std::optional<std::int64_t> size_bytes;
};

/// Records "LENGTH KEY=VALUE\n" of a pax header.
void read_records(const RandomAccessFile& file, std::int64_t offset, std::string_view records, Extended& extended) {
  while (!records.empty()) {
    std::size_t length = 0;
    const auto [end, error] = std::from_chars(records.data(), records.data() + records.size(), length);
    const auto digits = static_cast<std::size_t>(end - records.data());
    if (error != std::errc() || length > records.size() || length < digits + 2 || *end != ' ' || records[length - 1] != '\n') {
      file.fail(offset, "found no record \"LENGTH KEY=VALUE\" in an extended header");
    }
    const std::string_view record = records.substr(digits + 1, length - digits - 2);  // without the end of the line
    records.remove_prefix(length);
    const std::string_view key = record.substr(0, record.find('='));
    const std::string_view value = record.substr(std::min(key.size() + 1, record.size()));
    if (key == "path") extended.name = value;
    if (key != "size") continue;
    std::int64_t size_bytes = 0;
    const auto parsed = std::from_chars(value.data(), value.data() + value.size(), size_bytes);
    if (parsed.ec != std::errc() || parsed.ptr != value.data() + value.size() || size_bytes < 0) {
      file.fail(offset, fmt::format("the size of a member is \"{}\", wanted a number", value));
    }
    extended.size_bytes = size_bytes;
  }
}

/// Takes in what follows a header that has only to do with the next member.
void read_extended(const RandomAccessFile& file, const Header& header, std::int64_t offset, Extended& extended) {
  if (header.size_bytes > kMostExtendedBytes) {
    file.fail(offset, fmt::format("an extended header of {} bytes, wanted at most {}", header.size_bytes, kMostExtendedBytes));
  }
  std::string content(static_cast<std::size_t>(header.size_bytes), '\0');
  file.read(offset, {reinterpret_cast<std::uint8_t*>(content.data()), content.size()}, "an extended header");
  if (header.type == 'x') {
    read_records(file, offset, content, extended);
  } else {
    extended.name = content.substr(0, content.find('\0'));
  }
}

bool is_zero(const Block& block) {
  return std::all_of(block.begin(), block.end(), [](std::uint8_t byte) { return byte == 0; });
}

}  // namespace

std::optional<TarMember> TarWalk::next() {
  Extended extended;
  std::int64_t first = next_;
  while (true) {
    Block block;
    const std::int64_t header_offset = next_;
    file_.read(header_offset, block, "a tar header or the zeros that end an archive");
    if (is_zero(block)) return {};
    const Header header = parse(file_, block, header_offset);
    const std::int64_t offset = header_offset + kBlock;
    if (header.type == 'x' || header.type == 'L') read_extended(file_, header, offset, extended);
    const bool is_extension = header.type == 'x' || header.type == 'L' || header.type == 'g' || header.type == 'K';
    const bool has_content = is_extension || header.type < '1' || header.type > '6';
    const std::int64_t size_bytes =
        has_content ? (is_extension ? header.size_bytes : extended.size_bytes.value_or(header.size_bytes)) : 0;
    if (size_bytes > file_.size_bytes() - offset) {
      file_.fail(header_offset,
                 fmt::format("a member of {} bytes, but the file has {} from there on", size_bytes, file_.size_bytes() - offset));
    }
    next_ = offset + (size_bytes + kBlock - 1) / kBlock * kBlock;
    if (is_extension) continue;
    const bool is_regular = header.type == '0' || header.type == '\0' || header.type == '7';
    if (is_regular) return TarMember{extended.name.value_or(header.name), first, offset, size_bytes};
    extended = {};
    first = next_;
  }
}

}  // namespace minim

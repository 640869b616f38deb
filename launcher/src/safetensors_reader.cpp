#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "checkpoint_file.h"
#include "minim/launcher/safetensors.h"
#include "safetensors_format.h"

namespace minim {
namespace {

using Json = nlohmann::json;
using safetensors::kSizeBytes;

constexpr int kDeepest = 3;  ///< header, tensor, list

/// Reads one file's header. Every complaint starts with the file's name.
class HeaderParser {
 public:
  explicit HeaderParser(const std::filesystem::path& path) : path_(path), file_(path) {}

  void parse(std::vector<SafetensorsEntry>& entries, std::map<std::string, std::string>& metadata) {
    const Json header = parse_json(read_header());
    if (!header.is_object()) fail(kSizeBytes, "the header is not a JSON object");
    for (const auto& [key, value] : header.items()) {
      if (key == safetensors::kMetadataKey) {
        read_metadata(value, metadata);
      } else {
        entries.push_back(entry(key, value));
      }
    }
    check_cover(entries);
  }

 private:
  [[noreturn]] void fail(std::int64_t offset, const std::string& text) const {
    throw DataError(fmt::format("{}: offset {}: {}", path_.string(), offset, text));
  }
  [[noreturn]] void fail_tensor(const std::string& tensor, const std::string& text) const {
    fail(kSizeBytes, fmt::format("tensor \"{}\": {}", tensor, text));
  }

  std::string read_header() {
    std::array<unsigned char, kSizeBytes> bytes{};
    if (file_.size_bytes() < kSizeBytes)
      fail(0, fmt::format("the file has {} bytes, wanted 8 for the header's size", file_.size_bytes()));
    file_.read(0, std::as_writable_bytes(std::span(bytes)));
    std::uint64_t size = 0;
    for (std::size_t i = kSizeBytes; i-- > 0;) size = size << 8U | bytes[i];
    const auto largest = static_cast<std::uint64_t>(std::min(safetensors::kLargestHeaderBytes, file_.size_bytes() - kSizeBytes));
    if (size > largest) fail(0, fmt::format("the header claims {} bytes, wanted at most {}", size, largest));
    data_begin_ = kSizeBytes + static_cast<std::int64_t>(size);
    std::string text(size, '\0');
    file_.read(kSizeBytes, std::as_writable_bytes(std::span(text)));
    return text;
  }

  /// Refuses what the format does not allow while parsing: keys given twice (JSON parsers differ in which one counts) and depth.
  Json parse_json(const std::string& text) const {
    std::array<std::set<std::string>, kDeepest + 2> keys;
    const auto watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
      if (event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start) {
        if (depth >= kDeepest) fail(kSizeBytes, "the header is nested deeper than the format allows");
        keys[static_cast<std::size_t>(depth) + 1].clear();
      }
      if (event == Json::parse_event_t::key && !keys[static_cast<std::size_t>(depth)].insert(parsed.get<std::string>()).second) {
        fail(kSizeBytes, fmt::format("\"{}\" is there twice", parsed.get<std::string>()));
      }
      return true;
    };
    try {
      return Json::parse(text, watch);
    } catch (const Json::parse_error& error) {
      fail(kSizeBytes + static_cast<std::int64_t>(error.byte), "the header is not valid JSON here");
    } catch (const Json::exception& error) {
      fail(kSizeBytes, error.what());
    }
  }

  void read_metadata(const Json& value, std::map<std::string, std::string>& metadata) const {
    if (!value.is_object()) fail(kSizeBytes, "the metadata is not a JSON object");
    for (const auto& [key, text] : value.items()) {
      if (!text.is_string()) fail(kSizeBytes, fmt::format("metadata \"{}\" is not a string", key));
      metadata[key] = text.get<std::string>();
    }
  }

  SafetensorsEntry entry(const std::string& tensor, const Json& value) const {
    const bool complete = value.is_object() && value.size() == 3 && value.contains("dtype") && value.contains("shape") &&
                          value.contains("data_offsets");
    if (!complete) fail_tensor(tensor, "wanted an object of dtype, shape and data_offsets");
    SafetensorsEntry found{.name = tensor, .dtype = dtype(tensor, value["dtype"]), .shape = {}};
    std::int64_t wanted_bytes = size_bytes(found.dtype);
    const auto dims = integers(tensor, "shape", value["shape"]);
    if (dims.size() > Shape::kMaxRank)
      fail_tensor(tensor, fmt::format("{} dimensions, wanted at most {}", dims.size(), Shape::kMaxRank));
    for (const std::int64_t dim : dims) {
      if (__builtin_mul_overflow(wanted_bytes, dim, &wanted_bytes))
        fail_tensor(tensor, "the size of its shape overflows 64 bits");
    }
    found.shape = Shape(std::span<const std::int64_t>(dims));
    const auto offsets = integers(tensor, "data_offsets", value["data_offsets"]);
    if (offsets.size() != 2 || offsets[0] > offsets[1]) fail_tensor(tensor, "data_offsets are not a begin and an end");
    const std::int64_t data_bytes = file_.size_bytes() - data_begin_;
    if (offsets[1] > data_bytes) {
      fail_tensor(tensor, fmt::format("its data ends at {}, but the file has {} bytes of data", offsets[1], data_bytes));
    }
    if (offsets[1] - offsets[0] != wanted_bytes) {
      fail_tensor(tensor, fmt::format("has {} bytes, its shape {} wants {}", offsets[1] - offsets[0], found.shape.to_string(),
                                      wanted_bytes));
    }
    found.offset_bytes = data_begin_ + offsets[0];
    found.size_bytes = wanted_bytes;
    return found;
  }

  DType dtype(const std::string& tensor, const Json& value) const {
    if (!value.is_string()) fail_tensor(tensor, "dtype is not a string");
    const auto text = value.get<std::string>();
    for (const auto& type : safetensors::kTypeNames) {
      if (type.name == text) return type.dtype;
    }
    fail_tensor(tensor, fmt::format("element type \"{}\", wanted one of F32, F16, BF16, F64, I32, I64, U8", text));
  }

  std::vector<std::int64_t> integers(const std::string& tensor, const char* what, const Json& list) const {
    std::vector<std::int64_t> values;
    if (!list.is_array()) fail_tensor(tensor, fmt::format("{} is not a list", what));
    for (const Json& value : list) {
      if (!value.is_number_unsigned() || value.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX)) {
        fail_tensor(tensor, fmt::format("{} holds {}, wanted integers in [0, 2^63)", what, value.type_name()));
      }
      values.push_back(value.get<std::int64_t>());
    }
    return values;
  }

  void check_cover(std::vector<SafetensorsEntry>& entries) const {
    std::stable_sort(entries.begin(), entries.end(), [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
      return std::pair(a.offset_bytes, a.size_bytes) < std::pair(b.offset_bytes, b.size_bytes);
    });
    std::int64_t end = data_begin_;
    for (const auto& entry : entries) {
      if (entry.offset_bytes != end) {
        fail(entry.offset_bytes,
             fmt::format("tensor \"{}\" starts here, {} offset {}, where the one before ends", entry.name,
                         entry.offset_bytes < end ? "overlapping what lies before" : "leaving a gap behind", end));
      }
      end += entry.size_bytes;
    }
    if (end != file_.size_bytes())
      fail(end, fmt::format("the last tensor ends here, but the file has {} bytes", file_.size_bytes()));
  }

  const std::filesystem::path& path_;
  InputFile file_;
  std::int64_t data_begin_ = 0;
};

}  // namespace

SafetensorsReader::SafetensorsReader(std::filesystem::path file, AtWork at_work)
    : file_(std::move(file)), at_work_(std::move(at_work)) {
  HeaderParser(file_).parse(entries_, metadata_);
}

const SafetensorsEntry* SafetensorsReader::find(const std::string& name) const {
  const auto found = std::find_if(entries_.begin(), entries_.end(), [&name](const auto& entry) { return entry.name == name; });
  return found == entries_.end() ? nullptr : &*found;
}

void SafetensorsReader::read(const SafetensorsEntry& entry, TensorView out, std::int64_t begin) const {
  const std::int64_t elements = entry.shape.elements();
  if (out.dtype() != entry.dtype || begin < 0 || begin > elements || out.elements() > elements - begin) {
    throw InvalidArgument(fmt::format("{}: \"{}\" is {} {}, but elements from {} on were asked for into {} {}", file_.string(),
                                      entry.name, name(entry.dtype), entry.shape.to_string(), begin, name(out.dtype()),
                                      out.shape().to_string()));
  }
  InputFile(file_, at_work_)
      .read(entry.offset_bytes + begin * size_bytes(entry.dtype),
            {static_cast<std::byte*>(out.raw()), static_cast<std::size_t>(out.size_bytes())});
}

}  // namespace minim

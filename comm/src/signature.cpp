#include "signature.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <functional>

namespace minim::detail {
namespace {

std::uint64_t mix(std::uint64_t hash, std::uint64_t value) {  // the finaliser of SplitMix64 over a running sum
  hash += value + 0x9E3779B97F4A7C15U;
  hash = (hash ^ (hash >> 30U)) * 0xBF58476D1CE4E5B9U;
  hash = (hash ^ (hash >> 27U)) * 0x94D049BB133111EBU;
  return hash ^ (hash >> 31U);
}

}  // namespace

std::string_view name(CollectiveKind kind) {
  switch (kind) {
    case CollectiveKind::all_reduce: return "all-reduce";
    case CollectiveKind::reduce_scatter: return "reduce-scatter";
    case CollectiveKind::reduce_scatter_fp32: return "fp32 reduce-scatter";
    case CollectiveKind::all_gather: return "all-gather";
    case CollectiveKind::all_to_all: return "all-to-all";
    case CollectiveKind::broadcast: return "broadcast";
    case CollectiveKind::barrier: return "barrier";
  }
  return "collective";
}

void Signature::set_label(std::string_view text) {
  label_hash = std::hash<std::string_view>{}(text);
  const std::size_t length = std::min(text.size(), kLabelBytes - 1);
  std::memcpy(label, text.data(), length);
  label[length] = '\0';
}

std::uint64_t Signature::digest() const {
  const auto small =
      static_cast<std::uint64_t>(on_device) << 16U | static_cast<std::uint64_t>(kind) << 8U | static_cast<std::uint64_t>(dtype);
  const auto numbers =
      static_cast<std::uint64_t>(static_cast<std::uint32_t>(root)) << 32U | static_cast<std::uint32_t>(scale_exponent);
  return mix(mix(mix(mix(small, numbers), static_cast<std::uint64_t>(elements)), label_hash), 0);
}

std::string Signature::title() const {
  return label[0] == '\0' ? std::string(name(kind)) : fmt::format("{} of \"{}\"", name(kind), label);
}

std::string Signature::describe() const {
  std::string text = title();
  if (kind == CollectiveKind::broadcast) text += fmt::format(" from rank {}", root);
  if (kind != CollectiveKind::barrier) {
    text += fmt::format(" ({} {}{})", elements, minim::name(dtype), on_device ? " on a device" : "");
  }
  if (scale_exponent != 0) text += fmt::format(" times 2^{}", scale_exponent);
  return text;
}

std::string rank_list(const std::vector<int>& ranks) {
  return fmt::format("{} {}", ranks.size() == 1 ? "rank" : "ranks", fmt::join(ranks, ", "));
}

std::string mismatch_text(int rank, const Signature& signature, int other_rank, const Signature& other) {
  return fmt::format("ranks disagree: rank {} calls {}, rank {} calls {}", rank, signature.describe(), other_rank,
                     other.describe());
}

std::string missing_text(const Signature& signature, const std::vector<int>& ranks, std::chrono::milliseconds waited) {
  return fmt::format("{}: {} missing after {:.1f} s", signature.title(), rank_list(ranks),
                     std::chrono::duration<double>(waited).count());
}

}  // namespace minim::detail

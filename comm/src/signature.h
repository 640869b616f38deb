#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "minim/runtime/dtype.h"

namespace minim::detail {

enum class CollectiveKind : std::uint8_t {
  all_reduce,
  reduce_scatter,
  reduce_scatter_fp32,
  all_gather,
  all_to_all,
  broadcast,
  barrier
};
std::string_view name(CollectiveKind kind);

/// What all ranks must agree on in a collective. Ranks show it to each other through shared memory and messages.
struct Signature {
  static constexpr std::size_t kLabelBytes = 96;  // longer labels are cut in messages; the hash covers all of it

  std::int64_t elements = 0;
  std::uint64_t label_hash = 0;
  std::int32_t root = 0;
  std::int32_t scale_exponent = 0;
  CollectiveKind kind = CollectiveKind::barrier;
  DType dtype = DType::uint8;
  bool on_device = false;  ///< the tensors lie in a device's memory
  char label[kLabelBytes] = {};

  void set_label(std::string_view text);
  /// Differs when signatures differ, but for one chance in 2^64.
  std::uint64_t digest() const;
  /// `all-reduce of "bucket 3"`.
  std::string title() const;
  /// `all-reduce of "bucket 3" (1000 fp16)`, with all that is compared.
  std::string describe() const;
};

// Sentences of errors that a collective ends in.
std::string mismatch_text(int rank, const Signature& signature, int other_rank, const Signature& other);
std::string missing_text(const Signature& signature, const std::vector<int>& ranks, std::chrono::milliseconds waited);
/// "rank 2", "ranks 2, 3".
std::string rank_list(const std::vector<int>& ranks);

}  // namespace minim::detail

#include <fmt/format.h>

#include <array>
#include <mutex>
#include <utility>

#include "minim/model/data/loader.h"
#include "minim/runtime/philox.h"

namespace minim {
namespace {

/// Keeps the numbers of the permutations apart from those of other users of the same seed.
constexpr std::uint32_t kPermutationDomain = 0x7065726D;

/// Uniform in [0, bound), from number `draw` of an epoch. The bias of the multiplication is below bound / 2^64.
std::int64_t draw_below(std::int64_t bound, std::uint64_t seed, std::int64_t epoch, std::int64_t draw) {
  const auto e = static_cast<std::uint64_t>(epoch);
  const auto d = static_cast<std::uint64_t>(draw);
  const auto bits = philox({static_cast<std::uint32_t>(d), static_cast<std::uint32_t>(d >> 32U), static_cast<std::uint32_t>(e),
                            static_cast<std::uint32_t>(e >> 32U)},
                           {static_cast<std::uint32_t>(seed) ^ kPermutationDomain, static_cast<std::uint32_t>(seed >> 32U)});
  const std::uint64_t number = std::uint64_t{bits[0]} << 32U | bits[1];
  __extension__ using Wide = unsigned __int128;
  return static_cast<std::int64_t>((Wide{number} * static_cast<std::uint64_t>(bound)) >> 64U);
}

}  // namespace

struct SampleStream::Impl {
  /// Readers are at most a few batches apart, so that two epochs are enough for most; more help data sets of a few batches.
  static constexpr int kCachedEpochs = 4;

  struct Epoch {
    std::int64_t number = -1;
    std::int64_t last_used = 0;
    std::vector<std::int64_t> permutation;
  };

  /// The permutation of an epoch, made when it is not there, in the place of the one unused for longest.
  const std::vector<std::int64_t>& permutation(std::int64_t number) {
    Epoch* slot = &epochs.front();
    for (auto& epoch : epochs) {
      if (epoch.number == number) {
        epoch.last_used = ++clock;
        return epoch.permutation;
      }
      if (epoch.last_used < slot->last_used) slot = &epoch;
    }
    slot->number = -1;
    slot->permutation.resize(static_cast<std::size_t>(size));
    shuffle(slot->permutation, number);
    slot->number = number;
    slot->last_used = ++clock;
    return slot->permutation;
  }

  /// Fisher and Yates; Knuth, "The Art of Computer Programming" volume 2, section 3.4.2, algorithm P.
  void shuffle(std::vector<std::int64_t>& order, std::int64_t epoch) const {
    for (std::int64_t i = 0; i < size; ++i) order[static_cast<std::size_t>(i)] = i;
    for (std::int64_t i = size - 1; i > 0; --i) {
      std::swap(order[static_cast<std::size_t>(i)], order[static_cast<std::size_t>(draw_below(i + 1, seed, epoch, i))]);
    }
  }

  std::int64_t size = 0;
  std::uint64_t seed = 0;
  std::mutex mutex;  ///< guards what follows
  std::int64_t clock = 0;
  std::array<Epoch, kCachedEpochs> epochs;
};

SampleStream::SampleStream(std::int64_t dataset_size, std::uint64_t seed) : impl_(std::make_unique<Impl>()) {
  if (dataset_size < 1)
    throw InvalidArgument(fmt::format("stream over a data set of {} samples, wanted at least 1", dataset_size));
  impl_->size = dataset_size;
  impl_->seed = seed;
}

SampleStream::~SampleStream() = default;

std::int64_t SampleStream::epoch_at(std::int64_t position) const {
  if (position < 0) throw InvalidArgument(fmt::format("stream position {}, wanted at least 0", position));
  return position / impl_->size;
}

std::int64_t SampleStream::index_at(std::int64_t position) const {
  const std::int64_t epoch = epoch_at(position);
  const std::lock_guard lock(impl_->mutex);
  return impl_->permutation(epoch)[static_cast<std::size_t>(position % impl_->size)];
}

}  // namespace minim

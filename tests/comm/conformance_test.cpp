// What every communicator does with data: run by thread_test.cpp, tcp_test.cpp, mpi_test.cpp and, on a CUDA
// device, gpu/comm/nccl_test.cpp on their kinds of groups.

#include <fmt/format.h>

#include <cstring>
#include <limits>

#include "group.h"
#include "minim/runtime/error.h"
#include "values.h"

namespace minim::test {
namespace {

/// Small; odd; on both sides of what fits a slot (4 KiB of fp16); one piece; several pieces of staging (2 MiB) with a rest.
constexpr std::int64_t kCounts[] = {0, 1, 7, 1000, 2048, 2049, 10'007, 1'200'007};
/// The same, per rank, for collectives over equal slices.
std::vector<std::int64_t> slice_counts(int ranks) { return {0, 1, 7, 1031, 1'200'007 / ranks}; }

template <class T, class NodeOf>
void expect_sums(const GroupKind& kind, Rank& rank, const NodeOf& node_of, std::int64_t count, int scale_exponent, Place place) {
  Values<T> data(rank, count, place);
  fill(data, rank->rank());
  rank->all_reduce(data.view(), {.scale_exponent = scale_exponent}, {.label = "sums", .after = {}}).wait();
  data.read();
  const auto is_right = [&](std::int64_t i) { return is_sum(kind, node_of, data[i], i, scale_exponent); };
  ASSERT_EQ(first_wrong(count, is_right), kNone) << "of " << count << " on rank " << rank->rank();
}

TEST_P(Conformance, KnowsItsRanksAndNodes) {
  on_all_ranks([&](Rank& rank) {
    EXPECT_EQ(rank->size(), size());
    EXPECT_EQ(rank->nodes(), node_of(size() - 1) + 1);
    for (int r = 0; r < size(); ++r) EXPECT_EQ(rank->node_of(r), node_of(r));
  });
}

TEST_P(Conformance, AllReduceRoundsTheSumOncePerLevel) {
  const auto node = [&](int r) { return node_of(r); };
  on_all_ranks([&](Rank& rank) {
    for (const Place place : places()) {
      for (const std::int64_t count : kCounts) {
        if (place == Place::mixed && count > 10'007) continue;  // goes the way of ordinary memory
        expect_sums<Half>(GetParam(), rank, node, count, 0, place);
        if (count > 10'007) continue;  // the path is the same for all types: one of them will do for large counts
        expect_sums<BFloat16>(GetParam(), rank, node, count, 0, place);
        expect_sums<float>(GetParam(), rank, node, count, 0, place);
      }
    }
  });
}

TEST_P(Conformance, AllReduceScalesBeforeItRounds) {
  const auto node = [&](int r) { return node_of(r); };
  on_all_ranks([&](Rank& rank) {
    for (const int exponent : {-4, -1, 4}) {
      for (const std::int64_t count : {std::int64_t{1000}, std::int64_t{20'011}}) {
        expect_sums<Half>(GetParam(), rank, node, count, exponent, Place::allocated);
        expect_sums<BFloat16>(GetParam(), rank, node, count, exponent, Place::allocated);
        expect_sums<float>(GetParam(), rank, node, count, exponent, Place::ordinary);
      }
    }
  });
}

/// Numbers of very different magnitude: FP32 addition in any other order gives other bits.
float wide_value(int rank, std::int64_t i) {
  const auto hash = (static_cast<std::uint64_t>(i) * 8 + static_cast<std::uint64_t>(rank) + 1) * 0x9E3779B97F4A7C15U;
  return std::ldexp(static_cast<float>((hash >> 20U) % 1999) - 999.0F, static_cast<int>((hash >> 50U) % 24));
}

TEST_P(Conformance, AllReduceAddsInTheOrderOfRanksWhereItPromisesOne) {
  on_all_ranks([&](Rank& rank) {
    for (const std::int64_t count : {std::int64_t{1000}, std::int64_t{10'007}}) {
      Values<float> data(rank, count, Place::allocated);
      for (std::int64_t i = 0; i < count; ++i) data[i] = wide_value(rank->rank(), i);
      data.write();
      rank->all_reduce(data.view(), {}, {}).wait();
      data.read();
      for (std::int64_t i = 0; i < count; ++i) {
        if (GetParam().adds_in_any_order) {
          std::vector<double> values;
          for (int r = 0; r < size(); ++r) values.push_back(wide_value(r, i));
          ASSERT_TRUE(is_near_sum(data[i], values, 0)) << "element " << i;
          continue;
        }
        std::vector<float> nodes(static_cast<std::size_t>(rank->nodes()));
        for (int r = 0; r < size(); ++r) nodes[static_cast<std::size_t>(node_of(r))] += wide_value(r, i);
        float wanted = 0;
        for (const float node : nodes) wanted += node;
        ASSERT_EQ(data[i], wanted) << "element " << i;
      }
    }
  });
}

TEST_P(Conformance, OverflowAndNonFiniteValuesSurviveTheSum) {
  on_all_ranks([&](Rank& rank) {
    for (const std::int64_t count : {std::int64_t{3}, std::int64_t{30'003}}) {
      Values<Half> data(rank, count, Place::allocated);
      for (std::int64_t i = 0; i < count; ++i) data[i] = to_half(kHalfMax);
      data[1] = to_half(rank->rank() == 0 ? std::numeric_limits<float>::quiet_NaN() : 1.0F);
      data[2] = to_half(rank->rank() == size() - 1 ? -std::numeric_limits<float>::infinity() : 1.0F);
      data.write();
      rank->all_reduce(data.view(), {}, {}).wait();
      data.read();
      EXPECT_EQ(to_float(data[0]), size() == 1 ? kHalfMax : std::numeric_limits<float>::infinity());
      EXPECT_TRUE(std::isnan(to_float(data[1])));
      EXPECT_EQ(to_float(data[2]), -std::numeric_limits<float>::infinity());
    }
  });
}

template <class T>
void expect_same_bits(Rank& rank, const std::function<T(std::int64_t)>& value) {
  constexpr std::int64_t kCount = 10'007;
  Values<T> data(rank, kCount, Place::allocated);
  for (std::int64_t i = 0; i < kCount; ++i) data[i] = value(i);
  data.write();
  rank->all_reduce(data.view(), {.scale_exponent = -1}, {}).wait();
  data.read();
  std::vector<T> of_all(static_cast<std::size_t>(kCount * rank->size()));
  std::memcpy(of_all.data() + rank->rank() * kCount, data.data(), kCount * sizeof(T));
  rank->all_gather(TensorView(of_all.data(), kDType<T>, Shape{kCount * rank->size()}), {}).wait();
  for (int r = 0; r < rank->size(); ++r) EXPECT_EQ(std::memcmp(of_all.data() + r * kCount, data.data(), kCount * sizeof(T)), 0);
}

TEST_P(Conformance, EveryRankGetsTheSameBits) {
  on_all_ranks([&](Rank& rank) {
    expect_same_bits<float>(rank, [&](std::int64_t i) { return wide_value(rank->rank(), i) * 1.7F; });
    expect_same_bits<Half>(rank, [&](std::int64_t i) { return to_half(std::sin(wide_value(rank->rank(), i)) * 100); });
  });
}

TEST_P(Conformance, ReduceScatterGivesTheBitsOfAllReduceWhereTheOrderIsPromised) {
  const auto node = [&](int r) { return node_of(r); };
  on_all_ranks([&](Rank& rank) {
    for (const Place place : places()) {
      for (const std::int64_t slice : slice_counts(size())) {
        const std::int64_t count = slice * size();
        Values<Half> reduced(rank, count, place);
        Values<Half> scattered(rank, count, place);
        fill(reduced, rank->rank());
        fill(scattered, rank->rank());
        rank->all_reduce(reduced.view(), {.scale_exponent = -1}, {}).wait();
        rank->reduce_scatter(scattered.view(), {.scale_exponent = -1}, {}).wait();
        reduced.read();
        scattered.read();
        const std::int64_t own = rank->rank() * slice;
        if (GetParam().adds_in_any_order) {
          const auto is_right = [&](std::int64_t i) { return is_sum(GetParam(), node, scattered[own + i], own + i, -1); };
          ASSERT_EQ(first_wrong(slice, is_right), kNone) << "of " << slice;
          continue;
        }
        EXPECT_EQ(std::memcmp(scattered.data() + own, reduced.data() + own, static_cast<std::size_t>(slice) * sizeof(Half)), 0);
      }
    }
  });
}

TEST_P(Conformance, Fp32ReduceScatterNeitherRoundsNorTouchesTheData) {
  on_all_ranks([&](Rank& rank) {
    for (const Place place : places()) {
      for (const std::int64_t slice : slice_counts(size())) {
        Values<Half> data(rank, slice * size(), place);
        Values<float> sums(rank, slice, GetParam().on_device ? place : Place::ordinary);
        fill(data, rank->rank());
        rank->reduce_scatter_fp32(data.view(), sums.view(), {}).wait();
        data.read();
        sums.read();
        const auto sum_is_right = [&](std::int64_t i) {
          double wanted = 0;
          for (int r = 0; r < size(); ++r) wanted += exact_value<Half>(r, rank->rank() * slice + i);
          return sums[i] == static_cast<float>(wanted);
        };
        const auto is_untouched = [&](std::int64_t i) {
          return data[i] == to_half(static_cast<float>(exact_value<Half>(rank->rank(), i)));
        };
        ASSERT_EQ(first_wrong(slice, sum_is_right), kNone) << "of " << slice;
        ASSERT_EQ(first_wrong(data.elements(), is_untouched), kNone) << "of " << data.elements();
      }
    }
  });
}

template <class T>
void expect_gathered(Rank& rank, std::int64_t slice, Place place) {
  Values<T> data(rank, slice * rank->size(), place);
  for (std::int64_t i = 0; i < slice; ++i) data[rank->rank() * slice + i] = static_cast<T>(rank->rank() * 31 + i);
  data.write();
  rank->all_gather(data.view(), {}).wait();
  data.read();
  for (int r = 0; r < rank->size(); ++r) {
    const auto is_right = [&](std::int64_t i) { return data[r * slice + i] == static_cast<T>(r * 31 + i); };
    ASSERT_EQ(first_wrong(slice, is_right), kNone) << "of " << slice << " from rank " << r;
  }
}

TEST_P(Conformance, AllGatherCopiesEverySliceOfAnyType) {
  on_all_ranks([&](Rank& rank) {
    for (const Place place : places()) {
      for (const std::int64_t slice : slice_counts(size())) {
        expect_gathered<float>(rank, slice, place);
        if (slice > 10'000) continue;
        expect_gathered<std::uint8_t>(rank, slice, place);
        expect_gathered<std::int64_t>(rank, slice, place);
      }
    }
  });
}

TEST_P(Conformance, AllToAllTransposesParts) {
  on_all_ranks([&](Rank& rank) {
    for (const Place place : places()) {
      for (const std::int64_t part : slice_counts(size())) {
        Values<std::int32_t> send(rank, part * size(), place);
        Values<std::int32_t> receive(rank, part * size(), place);
        const auto value = [&](int from, int to, std::int64_t i) {
          return static_cast<std::int32_t>((from * 16 + to) * 1'000'000 + i);
        };
        for (int to = 0; to < size(); ++to) {
          for (std::int64_t i = 0; i < part; ++i) send[to * part + i] = value(rank->rank(), to, i);
        }
        send.write();
        rank->all_to_all(send.view(), receive.view(), {}).wait();
        receive.read();
        for (int from = 0; from < size(); ++from) {
          const auto is_right = [&](std::int64_t i) { return receive[from * part + i] == value(from, rank->rank(), i); };
          ASSERT_EQ(first_wrong(part, is_right), kNone) << "of " << part << " from rank " << from;
        }
      }
    }
  });
}

TEST_P(Conformance, BroadcastCopiesFromAnyRoot) {
  on_all_ranks([&](Rank& rank) {
    for (const Place place : places()) {
      for (const std::int64_t count : {0, 1, 512, 513, 300'001}) {
        for (const int root : {0, size() / 2, size() - 1}) {
          Values<double> data(rank, count, place);
          for (std::int64_t i = 0; i < count; ++i) data[i] = rank->rank() * 1e7 + static_cast<double>(i);
          data.write();
          rank->broadcast(data.view(), root, {}).wait();
          data.read();
          ASSERT_EQ(first_wrong(count, [&](std::int64_t i) { return data[i] == root * 1e7 + static_cast<double>(i); }), kNone)
              << "of " << count << " from rank " << root;
        }
      }
    }
  });
}

TEST_P(Conformance, NobodyPassesACollectiveBeforeTheLastRankHasCome) {
  on_all_ranks([&](Rank& rank) {
    const Event gate = Event::manual();
    const bool last = rank->rank() == size() - 1;
    std::vector<Half> empty(1);
    for (const std::int64_t count : {0, 1}) {
      const Event opened = count == 0 ? gate : Event::manual();
      const CollectiveOptions options{.label = "gated", .after = last ? opened : Event()};
      const Work work =
          count == 0 ? rank->barrier(options) : rank->all_reduce({empty.data(), DType::fp16, Shape{0}}, {}, options);
      for (int polls = 0; polls < 1000; ++polls) rank->progress();
      EXPECT_FALSE(work.done());
      rank.meet();
      EXPECT_FALSE(work.done());
      if (last) opened.set();
      work.wait();
      EXPECT_TRUE(work.done());
    }
  });
}

TEST_P(Conformance, CollectivesKeepTheirOrderWhicheverEventComesFirst) {
  on_all_ranks([&](Rank& rank) {
    Values<float> data(rank, 1000, Place::allocated);
    for (std::int64_t i = 0; i < 1000; ++i) data[i] = 1;
    data.write();
    const Event first_ready = Event::manual();
    const Work first = rank->all_reduce(data.view(), {}, {.label = "first", .after = first_ready});
    const Work second = rank->all_reduce(data.view(), {}, {.label = "second", .after = {}});
    for (int polls = 0; polls < 1000; ++polls) rank->progress();
    EXPECT_FALSE(first.done());
    EXPECT_FALSE(second.done());
    first_ready.set();
    second.wait();
    EXPECT_TRUE(first.done());
    data.read();
    EXPECT_EQ(data[999], static_cast<float>(size() * size()));
  });
}

TEST_P(Conformance, ReadsItsDataWhenTheStreamHasWrittenItAndTheStreamGoesOnWithTheResult) {
  on_all_ranks([&](Rank& rank) {
    const auto stream = rank.backend->make_stream("test");
    constexpr std::int64_t kLast = 19'999;
    Values<float> data(rank, kLast + 1, Place::allocated);
    Values<float> written(rank, 1, Place::ordinary);
    Values<float> seen(rank, 1, Place::ordinary);
    for (std::int64_t i = 0; i <= kLast; ++i) data[i] = -1;
    data.write();
    written[0] = 3;
    const TensorView last = data.view().slice(kLast, kLast + 1);
    const Event gate = Event::manual();
    stream->wait(gate);
    stream->copy(last, written.view());
    const Work work = rank->all_reduce(data.view(), {}, {.label = "overlapped", .after = stream->record()});
    stream->wait(work.event());
    stream->copy(seen.view(), last);
    rank->progress();
    EXPECT_FALSE(work.done());
    gate.set();
    work.wait();
    stream->synchronize();
    EXPECT_EQ(seen[0], 3.0F * static_cast<float>(size()));
  });
}

TEST_P(Conformance, AllocatedMemoryMayBeReleasedAndAskedForAgain) {
  const auto node = [&](int r) { return node_of(r); };
  on_all_ranks([&](Rank& rank) {
    Backend& backend = *rank.backend;
    for (int round = 0; round < 5; ++round) {
      const Buffer kept = rank->allocate(backend, 100'000 + round, MemoryKind::weights);
      EXPECT_EQ(backend.memory()->in_use_bytes(MemoryKind::weights), 100'000 + round);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(kept.data()) % kAlignmentBytes, 0U);
      expect_sums<Half>(GetParam(), rank, node, 20'000, 0, Place::allocated);
    }
    EXPECT_EQ(backend.memory()->in_use_bytes(), 0);
  });
}

TEST_P(Conformance, RefusesArgumentsThatDoNotFit) {
  on_all_ranks([&](Rank& rank) {
    std::vector<float> memory(64 * static_cast<std::size_t>(size()));
    const TensorView good(memory.data(), DType::fp32, Shape{static_cast<std::int64_t>(memory.size())});
    const TensorView integers(memory.data(), DType::int32, Shape{4});
    EXPECT_THROW(rank->all_reduce(integers, {}, {}), InvalidArgument);
    EXPECT_THROW(rank->all_reduce({}, {}, {}), InvalidArgument);
    EXPECT_THROW(rank->all_reduce({nullptr, DType::fp32, Shape{4}}, {}, {}), InvalidArgument);
    EXPECT_THROW(rank->all_reduce(good, {.scale_exponent = 127}, {}), InvalidArgument);
    EXPECT_THROW(rank->broadcast(good, size(), {}), InvalidArgument);
    EXPECT_THROW(rank->broadcast(good, -1, {}), InvalidArgument);
    EXPECT_THROW(rank->all_to_all(good, good, {}), InvalidArgument);
    EXPECT_THROW(rank->reduce_scatter_fp32(good, good.slice(0, 64), {}), InvalidArgument);
    if (size() > 1) {
      EXPECT_THROW(rank->all_gather(good.slice(0, size() + 1), {}), InvalidArgument);
    }
    // Nothing has changed: the group works.
    rank->all_reduce(good, {}, {.label = "after the refusals", .after = {}}).wait();
  });
}

}  // namespace
}  // namespace minim::test

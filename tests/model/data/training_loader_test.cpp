#include <gtest/gtest.h>

#include <map>
#include <optional>

#include "minim/model/data/loader.h"
#include "model/data/numbered_dataset.h"

namespace minim {
namespace {

using testing::NumberedDataset;

/// What a batch says, copied out of it.
struct Seen {
  std::vector<float> images;
  std::vector<std::int32_t> labels;
  std::vector<std::int64_t> ids;
  std::int32_t valid_samples = 0;
  std::string error;
  friend bool operator==(const Seen&, const Seen&) = default;
};

Seen copy_of(const Batch& batch) {
  Seen seen{{}, {}, {}, batch.valid_samples, batch.error};
  const TensorView images = batch.images;
  dispatch_floating(images.dtype(), [&]<class T>(T) {
    for (const T value : images.span<T>()) seen.images.push_back(to_float(value));
  });
  const auto labels = batch.labels.view().span<std::int32_t>();
  const auto ids = batch.sample_ids.view().span<std::int64_t>();
  seen.labels.assign(labels.begin(), labels.end());
  seen.ids.assign(ids.begin(), ids.end());
  return seen;
}

std::vector<Seen> read(const Dataset& dataset, const LoaderOptions& options, int micro_batches) {
  const auto backend = make_reference_backend();
  TrainingLoader loader(dataset, *backend, options);
  std::vector<Seen> all;
  for (int i = 0; i < micro_batches; ++i) all.push_back(copy_of(loader.next()));
  return all;
}

TEST(TrainingLoader, GivesTheSameBatchesForAnyNumberOfThreadsAndDepth) {
  const NumberedDataset dataset(50, {13, 21, 22, 30, 31, 47});  // the first broken image of a batch is what it tells
  const LoaderOptions options{.batch = 4, .seed = 5};
  const auto expected = read(dataset, options, 60);
  for (const int threads : {1, 2, 3, 4}) {
    for (const int depth : {1, 2, 7}) {
      LoaderOptions other = options;
      other.threads = threads;
      other.depth = depth;
      EXPECT_EQ(read(dataset, other, 60), expected) << threads << " threads, depth " << depth;
    }
  }
}

TEST(TrainingLoader, FollowsTheStreamAtAnyNumberOfRanksAndMicroBatches) {
  constexpr std::int64_t kSize = 31, kGlobalBatch = 12, kStart = 24;
  constexpr int kSteps = 9;  // more than three epochs
  const NumberedDataset dataset(kSize);
  const SampleStream stream(kSize, 7);
  for (const int world_size : {1, 2, 3}) {
    for (const int micro_batches : {1, 2}) {
      std::vector<std::int64_t> ids;
      std::vector<std::vector<Seen>> ranks;
      for (int rank = 0; rank < world_size; ++rank) {
        ranks.push_back(read(dataset,
                             {.batch = kGlobalBatch / world_size / micro_batches,
                              .micro_batches = micro_batches,
                              .rank = rank,
                              .world_size = world_size,
                              .seed = 7,
                              .start_position = kStart,
                              .threads = 2},
                             kSteps * micro_batches));
      }
      std::int64_t position = kStart;
      for (int step = 0; step < kSteps; ++step) {
        for (const auto& rank : ranks) {
          for (int m = 0; m < micro_batches; ++m) {
            const Seen& batch = rank[static_cast<std::size_t>(step * micro_batches + m)];
            for (std::size_t i = 0; i < batch.ids.size(); ++i, ++position) {
              ASSERT_EQ(batch.ids[i], position);
              ASSERT_EQ(batch.labels[i], stream.index_at(position));
              ASSERT_EQ(batch.images[6 * i + 5], static_cast<float>(stream.index_at(position)));
            }
          }
        }
      }
    }
  }
}

TEST(TrainingLoader, FillsABatchFromSeveralEpochsOfASmallDataSet) {
  const NumberedDataset dataset(3);
  const auto batches = read(dataset, {.batch = 8, .threads = 3}, 6);
  const SampleStream stream(3, 1);
  std::map<std::int32_t, int> counts;
  for (std::size_t b = 0; b < batches.size(); ++b) {
    EXPECT_EQ(batches[b].valid_samples, 8);
    for (std::size_t i = 0; i < 8; ++i) {
      EXPECT_EQ(batches[b].labels[i], stream.index_at(static_cast<std::int64_t>(8 * b + i)));
      ++counts[batches[b].labels[i]];
    }
  }
  EXPECT_EQ(counts, (std::map<std::int32_t, int>{{0, 16}, {1, 16}, {2, 16}}));
}

TEST(TrainingLoader, MakesABatchThatCannotBeReadAllPaddingAndGoesOn) {
  const NumberedDataset dataset(10, {4});
  const auto batches = read(dataset, {.batch = 2, .threads = 2}, 15);
  int errors = 0;
  for (const Seen& batch : batches) {
    if (batch.error.empty()) {
      EXPECT_EQ(batch.valid_samples, 2);
      continue;
    }
    ++errors;
    EXPECT_EQ(batch.error, "image 4 is broken");
    EXPECT_EQ(batch.valid_samples, 0);
    EXPECT_EQ(batch.images, std::vector<float>(12));
    EXPECT_EQ(batch.labels, std::vector<std::int32_t>(2));
  }
  EXPECT_EQ(errors, 3);  // once an epoch
}

TEST(TrainingLoader, RoundsToTheTypeAskedFor) {
  const NumberedDataset dataset(3000);  // more than 2048: not all of them are FP16 numbers
  const auto exact = read(dataset, {.batch = 16}, 40);
  const auto half = read(dataset, {.batch = 16, .dtype = DType::fp16}, 40);
  const auto bfloat = read(dataset, {.batch = 16, .dtype = DType::bf16}, 40);
  for (std::size_t b = 0; b < exact.size(); ++b) {
    EXPECT_EQ(half[b].labels, exact[b].labels);
    for (std::size_t i = 0; i < exact[b].images.size(); ++i) {
      ASSERT_EQ(half[b].images[i], to_float(to_half(exact[b].images[i])));
      ASSERT_EQ(bfloat[b].images[i], to_float(to_bfloat16(exact[b].images[i])));
    }
  }
}

TEST(TrainingLoader, KeepsABatchUntilTheCallAfterNext) {
  const NumberedDataset dataset(100);
  const auto backend = make_reference_backend();
  TrainingLoader loader(dataset, *backend, {.batch = 4, .threads = 4, .depth = 1});
  const Batch* before = &loader.next();
  Seen copy = copy_of(*before);
  for (int i = 0; i < 200; ++i) {
    const Batch* now = &loader.next();
    EXPECT_EQ(copy_of(*before), copy);
    before = now;
    copy = copy_of(*now);
  }
}

TEST(TrainingLoader, UsesTheStagingMemoryThatItSaysAndGivesItBack) {
  const NumberedDataset dataset(100);
  const auto backend = make_reference_backend();
  {
    TrainingLoader loader(dataset, *backend, {.batch = 8, .dtype = DType::fp16, .threads = 2, .depth = 3});
    const auto booked = backend->memory()->in_use_bytes(MemoryKind::staging);
    EXPECT_GE(booked, (3 + 2) * 8 * (6 * 2 + 4 + 8));
    for (int i = 0; i < 50; ++i) loader.next();
    EXPECT_EQ(backend->memory()->in_use_bytes(MemoryKind::staging), booked);
    EXPECT_EQ(backend->memory()->in_use_bytes(), booked);
  }
  EXPECT_EQ(backend->memory()->in_use_bytes(), 0);
}

TEST(TrainingLoader, StopsWithoutHavingBeenRead) {
  const NumberedDataset dataset(100);
  const auto backend = make_reference_backend();
  for (int i = 0; i < 50; ++i) TrainingLoader(dataset, *backend, {.batch = 8, .threads = 4, .depth = 2});
}

TEST(TrainingLoader, RefusesOptionsByName) {
  const NumberedDataset dataset(10);
  const NumberedDataset empty(0);
  const auto backend = make_reference_backend();
  const auto refusal = [&](const Dataset& data, const LoaderOptions& options) -> std::string {
    try {
      TrainingLoader loader(data, *backend, options);
    } catch (const InvalidArgument& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_NE(refusal(dataset, {.batch = 0}).find("batch is 0"), std::string::npos);
  EXPECT_NE(refusal(dataset, {.micro_batches = 0}).find("micro-batches is 0"), std::string::npos);
  EXPECT_NE(refusal(dataset, {.rank = 2, .world_size = 2}).find("rank is 2"), std::string::npos);
  EXPECT_NE(refusal(dataset, {.dtype = DType::int32}).find("int32"), std::string::npos);
  EXPECT_NE(refusal(dataset, {.start_position = -1}).find("start position is -1"), std::string::npos);
  EXPECT_NE(refusal(dataset, {.threads = 0}).find("threads is 0"), std::string::npos);
  EXPECT_NE(refusal(dataset, {.depth = 0}).find("depth is 0"), std::string::npos);
  EXPECT_NE(refusal(empty, {}).find("0 samples"), std::string::npos);
}

}  // namespace
}  // namespace minim

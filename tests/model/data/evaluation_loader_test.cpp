#include <gtest/gtest.h>

#include <vector>

#include "minim/model/data/loader.h"
#include "model/data/numbered_dataset.h"

namespace minim {
namespace {

using testing::NumberedDataset;

TEST(EvaluationLoader, ReadsEverySampleOnceAndPadsTheRestAtAnyNumberOfRanks) {
  const auto backend = make_reference_backend();
  for (const std::int64_t size : {1, 7, 8, 24, 25}) {
    const NumberedDataset dataset(size);
    for (const int world_size : {1, 2, 3}) {
      std::vector<int> seen(static_cast<std::size_t>(size));
      std::int64_t batches = -1;
      for (int rank = 0; rank < world_size; ++rank) {
        EvaluationLoader loader(dataset, *backend, {.batch = 4, .rank = rank, .world_size = world_size, .dtype = DType::fp16});
        if (rank > 0) {
          EXPECT_EQ(loader.batches(), batches);
        }
        batches = loader.batches();
        for (std::int64_t b = 0; b < batches; ++b) {
          const Batch& batch = loader.read(b);
          const auto labels = batch.labels.view().span<std::int32_t>();
          const auto ids = batch.sample_ids.view().span<std::int64_t>();
          const auto images = batch.images.view().span<Half>();
          for (std::int32_t i = 0; i < 4; ++i) {
            const auto at = static_cast<std::size_t>(i);
            if (i < batch.valid_samples) {
              ASSERT_EQ(ids[at], (b * world_size + rank) * 4 + i);
              ASSERT_EQ(labels[at], ids[at]);
              ++seen[static_cast<std::size_t>(labels[at])];
            } else {
              ASSERT_EQ(labels[at], 0);
            }
            ASSERT_EQ(to_float(images[at * 6 + 5]), i < batch.valid_samples ? static_cast<float>(labels[at]) : 0.0F);
          }
        }
      }
      EXPECT_EQ(seen, std::vector<int>(static_cast<std::size_t>(size), 1)) << size << " samples, " << world_size << " ranks";
    }
  }
}

TEST(EvaluationLoader, RecordsWhatCannotBeRead) {
  const NumberedDataset dataset(8, {5});
  const auto backend = make_reference_backend();
  EvaluationLoader loader(dataset, *backend, {.batch = 4});
  EXPECT_EQ(loader.read(0).error, "");
  EXPECT_EQ(loader.read(1).error, "image 5 is broken");
  EXPECT_EQ(loader.read(1).valid_samples, 0);
  EXPECT_EQ(loader.read(0).error, "");
  EXPECT_EQ(loader.read(0).valid_samples, 4);
}

TEST(EvaluationLoader, RefusesEmptyDataSetsAndBatchesBeyondTheEnd) {
  const auto backend = make_reference_backend();
  const NumberedDataset empty(0);
  EXPECT_THROW(EvaluationLoader(empty, *backend, {}), InvalidArgument);
  const NumberedDataset dataset(8);
  EvaluationLoader loader(dataset, *backend, {.batch = 4});
  EXPECT_THROW(loader.read(2), InvalidArgument);
  EXPECT_THROW(loader.read(-1), InvalidArgument);
}

}  // namespace
}  // namespace minim

#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "minim/model/data/loader.h"

namespace minim::testing {

/// Samples of a training run in the order of the stream.
struct TrainingSamples {
  std::vector<float> images;
  std::vector<std::int32_t> labels;
  friend bool operator==(const TrainingSamples&, const TrainingSamples&) = default;
};

/// What `world_size` ranks with so many threads each read in `steps` steps of `global_batch` samples.
inline TrainingSamples train(const Dataset& dataset, std::int64_t global_batch, int steps, std::int64_t start_position,
                             int world_size, int threads) {
  const auto backend = make_reference_backend();
  std::vector<std::unique_ptr<TrainingLoader>> ranks;
  for (int rank = 0; rank < world_size; ++rank) {
    ranks.push_back(std::make_unique<TrainingLoader>(dataset, *backend,
                                                     LoaderOptions{.batch = global_batch / world_size,
                                                                   .rank = rank,
                                                                   .world_size = world_size,
                                                                   .seed = 3,
                                                                   .start_position = start_position,
                                                                   .threads = threads}));
  }
  TrainingSamples samples;
  for (int step = 0; step < steps; ++step) {
    for (const auto& rank : ranks) {
      const Batch& batch = rank->next();
      EXPECT_EQ(batch.error, "");
      const auto images = batch.images.view().span<float>();
      const auto labels = batch.labels.view().span<std::int32_t>();
      samples.images.insert(samples.images.end(), images.begin(), images.end());
      samples.labels.insert(samples.labels.end(), labels.begin(), labels.end());
    }
  }
  return samples;
}

/// A run's samples do not depend on ranks and threads, and one that goes on in the middle of an epoch goes on with the same.
inline void expect_one_stream(const Dataset& dataset) {
  constexpr std::int64_t kGlobalBatch = 6;
  constexpr int kSteps = 8, kBefore = 3;
  const TrainingSamples whole = train(dataset, kGlobalBatch, kSteps, 0, 1, 1);
  ASSERT_NE(kBefore * kGlobalBatch % dataset.size(), 0);
  TrainingSamples rest = whole;
  rest.labels.erase(rest.labels.begin(), rest.labels.begin() + kBefore * kGlobalBatch);
  rest.images.erase(rest.images.begin(), rest.images.begin() + kBefore * (whole.images.size() / kSteps));
  for (const int world_size : {1, 2, 3}) {
    for (const int threads : {1, 3}) {
      EXPECT_EQ(train(dataset, kGlobalBatch, kSteps, 0, world_size, threads), whole) << world_size << " ranks";
      const auto resumed = train(dataset, kGlobalBatch, kSteps - kBefore, kBefore * kGlobalBatch, world_size, threads);
      EXPECT_EQ(resumed, rest) << world_size << " ranks";
    }
  }
}

}  // namespace minim::testing

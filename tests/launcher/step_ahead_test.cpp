#include <gtest/gtest.h>

#include <optional>

#include "launcher/rank_threads.h"
#include "launcher/small_network.h"
#include "launcher/toy_pair.h"
#include "minim/launcher/trainer.h"
#include "minim/runtime/error.h"

namespace minim {
namespace {

using namespace testing;

constexpr std::int64_t kBatch = 6;
constexpr int kSteps = 12;
constexpr float kTooLarge = 16777216.0F;  // gradients of the network overflow at first

/// A rank's trainer with what it needs.
class Job {
 public:
  explicit Job(Communicator& communicator) : communicator_(communicator) {
    build_network(graph_);
    std::vector<PhaseConfig> phases(1);
    phases[0].graphs = {&graph_};
    phases[0].batch = kBatch;
    phases[0].optimizer = sgd(0.05, kTooLarge);
    trainer_.emplace(*backend_, communicator, model_, std::move(phases), Trainer::Options{.micro_batches = 2, .seed = 3});
  }
  Trainer* operator->() { return &*trainer_; }
  void destroy_trainer() { trainer_.reset(); }

  /// Feeds samples by the number of the step; rank 1 has none in step `bad_step`.
  Feed feed(std::int64_t bad_step = -1) {
    return [this, bad_step](const MicroBatch& micro_batch) {
      if (micro_batch.step == bad_step && communicator_.rank() == 1) throw DataError("no more samples");
      const std::int64_t batch = (micro_batch.step * communicator_.size() + communicator_.rank()) * 2 + micro_batch.index;
      fill(*backend_, micro_batch.stream, *micro_batch.plans[0], batch * kBatch, kBatch);
      return 0;
    };
  }
  std::vector<float> weights() {
    std::vector<float> all;
    for (const Parameter* parameter : trainer_->optimizer().parameters()) {
      const auto values = trainer_->optimizer().gather_array("master", *parameter);
      all.insert(all.end(), values.begin(), values.end());
    }
    return all;
  }

 private:
  Communicator& communicator_;
  std::unique_ptr<Backend> backend_ = make_cpu_backend(1);
  Model model_;
  Graph graph_{model_, Graph::Mode::training};
  std::optional<Trainer> trainer_;
};

TEST(StepAhead, MakesTheSameStepsAndTellsOfEachAStepLater) {
  run_ranks(2, [](Communicator& communicator) {
    Job at_once(communicator), ahead(communicator);
    std::vector<float> losses, losses_ahead, scales, scales_ahead;
    for (int step = 0; step < kSteps; ++step) {
      at_once->step(at_once.feed());
      losses.push_back(static_cast<float>(at_once->state().loss));
      scales.push_back(at_once->state().loss_scale);
      const bool told = ahead->step_ahead(ahead.feed());
      EXPECT_EQ(told, step > 0);
      EXPECT_EQ(ahead->attempted(), step);
      EXPECT_EQ(ahead->begun(), step + 1);
      if (step == kSteps - 1) {
        EXPECT_THROW(ahead->gather_weights(), InvalidArgument);
      }
      if (!told) continue;
      losses_ahead.push_back(static_cast<float>(ahead->state().loss));
      scales_ahead.push_back(ahead->state().loss_scale);
    }
    EXPECT_TRUE(ahead->drain());
    EXPECT_FALSE(ahead->drain());
    losses_ahead.push_back(static_cast<float>(ahead->state().loss));
    scales_ahead.push_back(ahead->state().loss_scale);
    EXPECT_LT(scales.back(), kTooLarge) << "nothing overflowed";
    EXPECT_GT(ahead->state().applied, 0);
    EXPECT_EQ(losses_ahead, losses);
    EXPECT_EQ(scales_ahead, scales);
    EXPECT_EQ(ahead.weights(), at_once.weights());
  });
}

TEST(StepAhead, APhaseWaitsForTheWeightsThatItBorrows) {
  run_ranks(2, [](Communicator& communicator) {
    std::vector<std::vector<float>> weights;
    for (const bool ahead : {false, true}) {
      const auto backend = make_cpu_backend(1);
      Model model;
      ToyPair pair(model);
      Trainer trainer(*backend, communicator, model, pair.phases(), {});
      const Feed feed = [&](const MicroBatch& micro_batch) {
        ToyPair::fill(*backend, micro_batch, 1000 * micro_batch.step + communicator.rank());
        return 0;
      };
      for (int step = 0; step < 3; ++step) {
        if (ahead) {
          trainer.step_ahead(feed);
        } else {
          trainer.step(feed);
        }
      }
      trainer.drain();
      auto& all = weights.emplace_back();
      for (int phase = 0; phase < trainer.phases(); ++phase) {
        for (const Parameter* parameter : trainer.optimizer(phase).parameters()) {
          const auto values = trainer.optimizer(phase).gather_array("master", *parameter);
          all.insert(all.end(), values.begin(), values.end());
        }
      }
    }
    EXPECT_EQ(weights[0], weights[1]);
  });
}

TEST(StepAhead, AnErrorEndsWhatIsUnderWayAndIsThrownOnAllRanks) {
  run_ranks(2, [](Communicator& communicator) {
    Job job(communicator);
    const Feed feed = job.feed(/*bad_step=*/2);
    for (int step = 0; step < 3; ++step) job->step_ahead(feed);
    try {
      job->step_ahead(feed);
      ADD_FAILURE() << "no error";
    } catch (const DataError& error) {
      EXPECT_STREQ(error.what(), "rank 1: no more samples");
    }
    EXPECT_FALSE(job->drain()) << "a step is under way";
    EXPECT_EQ(job->attempted(), 4);
    job->step(feed);  // and the next can be made
    EXPECT_EQ(job->attempted(), 5);
  });
}

TEST(StepAhead, AnErrorOfTheLastStepIsThrownByDrain) {
  run_ranks(2, [](Communicator& communicator) {
    Job job(communicator);
    for (int step = 0; step < 3; ++step) job->step_ahead(job.feed(/*bad_step=*/2));
    EXPECT_THROW(job->drain(), DataError);
    EXPECT_FALSE(job->drain());
  });
}

TEST(StepAhead, ATrainerThatGoesWithAStepUnderWayEndsTheGroup) {
  run_ranks(2, [](Communicator& communicator) {
    Job job(communicator);
    if (communicator.rank() == 0) {
      job->step_ahead(job.feed());
      job.destroy_trainer();
    } else {
      EXPECT_THROW(job->step(job.feed()), CommError);
    }
  });
}

}  // namespace
}  // namespace minim

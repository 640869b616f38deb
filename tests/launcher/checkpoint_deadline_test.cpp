#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <memory>
#include <thread>

#include "launcher/rank_threads.h"
#include "launcher/tiny_run.h"
#include "minim/launcher/checkpoint.h"
#include "scratch_directory.h"

namespace minim {
namespace {

using testing::run_ranks;
using testing::ScratchDirectory;
using testing::TinyRun;

constexpr std::chrono::milliseconds kDeadline{2000};
constexpr std::chrono::milliseconds kPieceTime{500};  // several a deadline, so that a busy machine does not pass for silence
constexpr int kSlowPieces = 6;                        // together clearly longer than a deadline
constexpr int kAllPieces = 1000;

/// Rank 0's disk is slow for its first so many pieces.
CheckpointOptions slow_on_rank_0(const Communicator& communicator, int pieces) {
  if (communicator.rank() != 0) return {};
  return {.at_work = [left = std::make_shared<int>(pieces)] {
    if ((*left)-- > 0) std::this_thread::sleep_for(kPieceTime);
  }};
}

class SlowCheckpoint : public ::testing::Test {
 protected:
  /// A checkpoint of six ranks, so that each of two has several files to check.
  void SetUp() override {
    run_ranks(6, [&](Communicator& communicator) {
      TinyRun tiny(communicator);
      tiny.train(1);
      CheckpointStore(run()).save(tiny.trainer(), tiny.extra());
    });
  }
  const std::filesystem::path& run() const { return scratch_.path(); }

  void on_two_ranks(int slow_pieces, const std::function<void(CheckpointStore&, Communicator&)>& work) const {
    run_ranks(2,
              [&](Communicator& communicator) {
                CheckpointStore store(run(), slow_on_rank_0(communicator, slow_pieces));
                work(store, communicator);
              },
              {.deadline = kDeadline});
  }

 private:
  ScratchDirectory scratch_;
};

TEST_F(SlowCheckpoint, IsFoundByRanksThatWaitForEachOther) {
  on_two_ranks(kSlowPieces, [](CheckpointStore& store, Communicator& communicator) {
    std::vector<std::string> refused;
    const auto info = store.find_newest(communicator, refused);
    EXPECT_TRUE(info.has_value() && info->step == 1 && info->world_size == 6);
    EXPECT_TRUE(refused.empty());
  });
}

TEST_F(SlowCheckpoint, IsLoadedByRanksThatWaitForEachOther) {
  on_two_ranks(kSlowPieces, [](CheckpointStore& store, Communicator& communicator) {
    TinyRun tiny(communicator);
    std::vector<std::string> refused;
    EXPECT_TRUE(store.load_newest(tiny.trainer(), refused).has_value());
    EXPECT_EQ(tiny.trainer().attempted(), 1);
  });
}

TEST_F(SlowCheckpoint, IsSavedByRanksThatWaitForEachOther) {
  // Between its last gathering and the agreement that all has been written, rank 0 alone writes six pieces.
  on_two_ranks(kAllPieces, [](CheckpointStore& store, Communicator& communicator) {
    TinyRun tiny(communicator);
    tiny.train(2);
    store.save(tiny.trainer(), tiny.extra());
  });
  EXPECT_EQ(read_checkpoint_info(run() / "checkpoints/step-00000002").world_size, 2);
}

TEST(CheckpointFiles, AreCheckedInSharesOfAboutTheSameSize) {
  // Shards of about four pieces and states of less than one, of two ranks.
  const testing::TinyOptions options{.channels = 20000};
  const ScratchDirectory run;
  std::array<int, 2> pieces{};
  run_ranks(2, [&](Communicator& communicator) {
    TinyRun tiny(communicator, options);
    CheckpointStore(run.path()).save(tiny.trainer(), tiny.extra());
    int& own = pieces[static_cast<std::size_t>(communicator.rank())];
    std::vector<std::string> refused;
    CheckpointStore(run.path(), {.at_work = [&own] { ++own; }}).find_newest(communicator, refused);
  });
  EXPECT_GE(pieces[0], 4);
  EXPECT_EQ(pieces[0], pieces[1]);
}

}  // namespace
}  // namespace minim

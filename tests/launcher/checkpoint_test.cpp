#include "minim/launcher/checkpoint.h"

#include <gtest/gtest.h>

#include <cstring>
#include <mutex>
#include <nlohmann/json.hpp>

#include "launcher/files.h"
#include "launcher/rank_threads.h"
#include "launcher/tiny_run.h"
#include "minim/launcher/safetensors.h"
#include "scratch_directory.h"

namespace minim {
namespace {

namespace fs = std::filesystem;
using testing::run_ranks;
using testing::ScratchDirectory;
using testing::Snapshot;
using testing::TinyOptions;
using testing::TinyRun;

/// Runs `work(tiny, rank)` on every rank and returns what each rank's snapshot is afterwards.
std::vector<Snapshot> run(int world_size, const TinyOptions& options, const std::function<void(TinyRun&)>& work) {
  std::vector<Snapshot> snapshots(static_cast<std::size_t>(world_size));
  run_ranks(world_size, [&](Communicator& communicator) {
    TinyRun tiny(communicator, options);
    work(tiny);
    snapshots[static_cast<std::size_t>(communicator.rank())] = tiny.snapshot();
  });
  return snapshots;
}

void save(TinyRun& tiny, const fs::path& directory) { CheckpointStore(directory).save(tiny.trainer(), tiny.extra()); }

CheckpointExtra load(TinyRun& tiny, const fs::path& directory) {
  std::vector<std::string> refused;
  const auto extra = CheckpointStore(directory).load_newest(tiny.trainer(), refused);
  EXPECT_TRUE(extra.has_value());
  EXPECT_TRUE(refused.empty());
  return extra.value_or(CheckpointExtra{});
}

bool same_bits(const std::map<std::string, std::vector<float>>& a, const std::map<std::string, std::vector<float>>& b) {
  const auto equal = [](const auto& x, const auto& y) {
    return x.first == y.first && x.second.size() == y.second.size() &&
           std::memcmp(x.second.data(), y.second.data(), x.second.size() * sizeof(float)) == 0;
  };
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), equal);
}

bool same_bits(const StepState& a, const StepState& b) { return std::memcmp(&a, &b, sizeof a) == 0; }

TEST(Checkpoint, IsNotMadeOfWeightsThatOverflowedInTheStepBefore) {
  const ScratchDirectory scratch;
  run_ranks(2, [&](Communicator& communicator) {
    TinyRun tiny(communicator, {.learning_rate = 1e9});
    tiny.train(1);
    EXPECT_THROW(save(tiny, scratch.path()), NumericError);
  });
  EXPECT_TRUE(fs::is_empty(scratch.path()));
}

TEST(Checkpoint, ResumesBitForBitAtTheSameNumberOfRanks) {
  for (const auto& rule :
       {UpdateRule(SgdRule{}), UpdateRule(AdamRule{}), UpdateRule(RmsPropRule{.momentum = 0.9}), UpdateRule(LambRule{})}) {
    const ScratchDirectory scratch;
    const TinyOptions options{.rule = rule};
    const auto straight = run(2, options, [](TinyRun& tiny) { tiny.train(7); });
    run(2, options, [&](TinyRun& tiny) {
      tiny.train(3);  // in the middle of an epoch; the loss scale has grown once
      save(tiny, scratch.path());
    });
    const auto resumed = run(2, options, [&](TinyRun& tiny) {
      const auto extra = load(tiny, scratch.path());
      EXPECT_EQ(extra.data_position, 3 * TinyRun::kGlobalBatch);
      EXPECT_EQ(extra.configuration, "model = \"tiny\"\n");
      EXPECT_EQ(extra.note, "interval");
      tiny.train(4);
    });
    for (std::size_t rank = 0; rank < 2; ++rank) {
      EXPECT_TRUE(same_bits(straight[rank].arrays, resumed[rank].arrays));
      EXPECT_TRUE(same_bits(straight[rank].states, resumed[rank].states));
      EXPECT_TRUE(same_bits(straight[rank].step, resumed[rank].step));
    }
    EXPECT_FALSE(same_bits(straight[0].states, straight[1].states)) << "the ranks' own statistics are what this is about";
  }
}

TEST(Checkpoint, KeepsTheWholeStepStateOfASkippedStep) {
  const ScratchDirectory scratch;
  StepState odd;
  odd.loss_scale = 0x1p20F;
  odd.probing = 1;
  odd.good_steps = 1;
  odd.attempted = 12;
  odd.applied = 9;
  odd.outcome = static_cast<std::int32_t>(Outcome::skipped);
  odd.loss = std::numeric_limits<double>::infinity();
  odd.gradient_norm = std::numeric_limits<double>::quiet_NaN();
  odd.weight = 0.1;
  odd.learning_rate = 0.1F;
  odd.unscale[7] = 0x1p-149F;
  odd.non_finite = 1LL << 40;
  odd.stop = 1;
  run(1, {}, [&](TinyRun& tiny) {
    tiny.trainer().optimizer().set_state(odd);
    save(tiny, scratch.path());
  });
  const auto loaded = run(1, {}, [&](TinyRun& tiny) { load(tiny, scratch.path()); });
  odd.stop = 0;  // nobody has asked the resumed run to stop
  EXPECT_TRUE(same_bits(loaded[0].step, odd));
}

TEST(Checkpoint, LoadsAtAnotherNumberOfRanksWithTheMeanOfTheStates) {
  for (const auto& [writers, readers] : {std::pair(2, 3), std::pair(3, 1), std::pair(1, 2)}) {
    const ScratchDirectory scratch;
    const auto saved = run(writers, {}, [&](TinyRun& tiny) {
      tiny.train(3);
      save(tiny, scratch.path());
    });
    const auto loaded = run(readers, {}, [&](TinyRun& tiny) { load(tiny, scratch.path()); });
    for (const Snapshot& rank : loaded) {
      EXPECT_TRUE(same_bits(rank.arrays, saved[0].arrays));
      EXPECT_TRUE(same_bits(rank.step, saved[0].step));
      for (const auto& [name, values] : rank.states) {
        for (std::size_t i = 0; i < values.size(); ++i) {
          double sum = 0;
          for (const Snapshot& writer : saved) sum += writer.states.at(name)[i];
          EXPECT_EQ(values[i], static_cast<float>(sum / writers)) << name;
        }
      }
    }
  }
}

TEST(Checkpoint, GoesOnAtAnotherNumberOfRanks) {
  const ScratchDirectory scratch;
  run(2, {}, [&](TinyRun& tiny) {
    tiny.train(3);
    save(tiny, scratch.path());
  });
  for (const int readers : {3, 1}) {
    const auto after = run(readers, {}, [&](TinyRun& tiny) {
      load(tiny, scratch.path());
      EXPECT_EQ(tiny.position(), 3 * TinyRun::kGlobalBatch);
      tiny.train(2);
    });
    EXPECT_EQ(after[0].step.attempted, 5);
    EXPECT_EQ(after[0].step.applied, 5);
    EXPECT_EQ(after[0].step.weight, TinyRun::kGlobalBatch);
  }
}

TEST(Checkpoint, IsADirectoryOfShardsStatesAndAManifest) {
  const ScratchDirectory scratch;
  const auto saved = run(2, {}, [&](TinyRun& tiny) {
    tiny.train(1);
    const auto directory = CheckpointStore(scratch.path()).save(tiny.trainer(), tiny.extra());
    EXPECT_EQ(directory, scratch.path() / "checkpoints" / "step-00000001");
    EXPECT_TRUE(fs::exists(directory / "manifest.json")) << "all of it is there when any rank returns";
  });
  const fs::path directory = scratch.path() / "checkpoints" / "step-00000001";
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory)) names.insert(entry.path().filename());
  EXPECT_EQ(names, (std::set<std::string>{"manifest.json", "shard-000-of-002.safetensors", "shard-001-of-002.safetensors",
                                          "states-000-of-002.safetensors", "states-001-of-002.safetensors"}));
  const auto manifest = nlohmann::json::parse(testing::read_file(directory / "manifest.json"));
  EXPECT_EQ(manifest["step"], 1);
  EXPECT_EQ(manifest["world_size"], 2);
  EXPECT_EQ(manifest["precision"], "mixed");
  EXPECT_EQ(manifest["seed"], 3);
  EXPECT_EQ(manifest["data_position"], 12);
  EXPECT_EQ(manifest["files"].size(), 4U);

  // Rank r has elements [n r / W, n (r + 1) / W), here of 45 = 22 + 23.
  const auto& all = saved[0].arrays.at("master:conv.weight");
  ASSERT_EQ(all.size(), 45U);
  const SafetensorsReader shard(directory / "shard-001-of-002.safetensors");
  const auto* entry = shard.find("master:conv.weight");
  ASSERT_NE(entry, nullptr);
  std::vector<float> part(23);
  shard.read(*entry, TensorView(part.data(), DType::fp32, Shape{23}));
  EXPECT_EQ(part, std::vector<float>(all.begin() + 22, all.end()));
}

TEST(Checkpoint, OnlyTheNewestAreKept) {
  const ScratchDirectory scratch;
  run(2, {}, [&](TinyRun& tiny) {
    for (int i = 0; i < 4; ++i) {
      tiny.train(1);
      save(tiny, scratch.path());
    }
  });
  const fs::path root = scratch.path() / "checkpoints";
  EXPECT_EQ(list_checkpoints(scratch.path()), (std::vector<fs::path>{root / "step-00000003", root / "step-00000004"}));
  EXPECT_EQ(std::distance(fs::directory_iterator(root), fs::directory_iterator()), 2);
  EXPECT_THROW(CheckpointStore(scratch.path(), {.keep = 0}), InvalidArgument);
}

TEST(Checkpoint, ASaveAtTheSameStepReplacesTheOneThatIsThere) {
  const ScratchDirectory scratch;
  run(2, {}, [&](TinyRun& tiny) {
    tiny.train(1);
    save(tiny, scratch.path());
    auto extra = tiny.extra();
    extra.note = "end";
    CheckpointStore(scratch.path()).save(tiny.trainer(), extra);
  });
  run(2, {}, [&](TinyRun& tiny) { EXPECT_EQ(load(tiny, scratch.path()).note, "end"); });
  EXPECT_EQ(std::distance(fs::directory_iterator(scratch.path() / "checkpoints"), fs::directory_iterator()), 1);
}

TEST(Checkpoint, WhereThereIsNoneNothingIsLoaded) {
  const ScratchDirectory scratch;
  run(2, {}, [&](TinyRun& tiny) {
    std::vector<std::string> refused;
    EXPECT_FALSE(CheckpointStore(scratch.path()).load_newest(tiny.trainer(), refused).has_value());
    EXPECT_TRUE(refused.empty());
  });
  EXPECT_TRUE(list_checkpoints(scratch.path()).empty());
}

std::string mismatch(const fs::path& directory, const TinyOptions& options) {
  std::string text;
  std::mutex mutex;
  run_ranks(2, [&](Communicator& communicator) {
    TinyRun tiny(communicator, options);
    const Snapshot before = tiny.snapshot();
    std::vector<std::string> refused;
    try {
      CheckpointStore(directory).load_newest(tiny.trainer(), refused);
      ADD_FAILURE() << "accepted";
    } catch (const InvalidArgument& error) {
      const std::scoped_lock lock(mutex);
      if (!text.empty()) {
        EXPECT_EQ(text, error.what()) << "on both ranks";
      }
      text = error.what();
    }
    EXPECT_TRUE(same_bits(before.arrays, tiny.snapshot().arrays)) << "nothing has changed";
  });
  return text;
}

TEST(Checkpoint, OfAnotherModelIsRefusedByTensorAndShape) {
  const ScratchDirectory scratch;
  run(2, {}, [&](TinyRun& tiny) { save(tiny, scratch.path()); });
  const auto expect = [&](const TinyOptions& options, const std::vector<std::string>& parts) {
    const std::string text = mismatch(scratch.path(), options);
    for (const auto& part : parts) EXPECT_NE(text.find(part), std::string::npos) << part << " in: " << text;
  };
  expect({.channels = 6}, {"\"master:conv.weight\" has shape [5, ", "wants [6, "});
  expect({.hidden = true}, {"\"master:hidden.weight\""});
  expect({.batch_norm = false}, {":bn."});
  expect({.rule = AdamRule{}}, {"sgd", "adam"});
  expect({.rule = SgdRule{.nesterov = true}}, {"sgd", "nesterov"});
  expect({.rule = SgdRule{.momentum = 0}}, {"moment1:conv.weight"});
  expect({.seed = 4}, {"seed 3", "has 4"});
}

TEST(Checkpoint, LoadsInAnotherPrecisionWithAFreshLossScale) {
  const ScratchDirectory scratch;
  const auto mixed = run(2, {}, [&](TinyRun& tiny) {
    tiny.train(3);
    save(tiny, scratch.path());
  });
  ASSERT_EQ(mixed[0].step.loss_scale, 2048.0F);
  const auto single = run(2, {.precision = Precision::fp32}, [&](TinyRun& tiny) {
    const float fresh = tiny.trainer().state().loss_scale;
    load(tiny, scratch.path());
    EXPECT_EQ(tiny.trainer().state().loss_scale, fresh);
    EXPECT_EQ(tiny.trainer().state().applied, 3);
  });
  EXPECT_EQ(single[0].arrays.at("weight:conv.weight"), mixed[0].arrays.at("master:conv.weight"));
  EXPECT_EQ(single[0].arrays.at("moment1:conv.weight"), mixed[0].arrays.at("moment1:conv.weight"));

  const ScratchDirectory other;
  run(2, {.precision = Precision::fp32}, [&](TinyRun& tiny) {
    load(tiny, scratch.path());
    save(tiny, other.path());
  });
  const auto back = run(2, {}, [&](TinyRun& tiny) { load(tiny, other.path()); });
  EXPECT_TRUE(same_bits(back[0].arrays, mixed[0].arrays));
  EXPECT_EQ(back[0].step.loss_scale, 1024.0F) << "an fp32 run has no scale to hand on";
}

TEST(Checkpoint, SkipsInARowCountOnWhereTheScaleIsConstant) {
  const ScratchDirectory scratch;
  const TinyOptions constant{.loss_scale = {.mode = LossScaleMode::constant, .initial = 128.0F}};
  run(1, constant, [&](TinyRun& tiny) {
    tiny.train(1);
    StepState state = tiny.trainer().state();
    state.consecutive_skips = 19;
    tiny.trainer().optimizer().set_state(state);
    save(tiny, scratch.path());
  });
  const auto resumed = run(1, constant, [&](TinyRun& tiny) { load(tiny, scratch.path()); });
  EXPECT_EQ(resumed[0].step.consecutive_skips, 19);
}

TEST(Checkpoint, AConstantLossScaleIsTheResumedRunsOwn) {
  const ScratchDirectory scratch;
  run(1, {.loss_scale = {.mode = LossScaleMode::constant, .initial = 128.0F}},
      [&](TinyRun& tiny) { save(tiny, scratch.path()); });
  const auto resumed = run(1, {.loss_scale = {.mode = LossScaleMode::constant, .initial = 256.0F}},
                           [&](TinyRun& tiny) { load(tiny, scratch.path()); });
  EXPECT_EQ(resumed[0].step.loss_scale, 256.0F);
}

}  // namespace
}  // namespace minim

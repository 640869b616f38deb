// Groups whose collectives on devices somebody else carries: here nobody in fact, so that no device is needed.
#include "device_collectives.h"

#include <gtest/gtest.h>

#include <atomic>

#include "group_communicator.h"
#include "minim/runtime/error.h"
#include "rank_threads.h"

namespace minim::test {
namespace {

constexpr std::chrono::milliseconds kImpatient{800};

/// What the carriers of all ranks are told, and tell.
struct Script {
  std::atomic<int> started{0};
  std::atomic<int> aborted{0};
  std::atomic<bool> completes{true};  ///< whether what is started is done at once, or never
  std::atomic<bool> sound{true};      ///< whether devices know of nothing that is wrong
  std::atomic<bool> waits{false};     ///< whether devices wait for inputs by themselves
  std::atomic<int> breaks{-1};        ///< the rank whose device fails
};

/// Takes every address for one of a device.
class ScriptedCarrier final : public detail::DeviceCollectives {
 public:
  ScriptedCarrier(Script& script, int rank) : script_(script), rank_(rank) {}

  std::string_view name() const override { return "scripted"; }
  bool is_device_memory(const void* /*address*/) const override { return true; }
  bool can_wait_for(const Event& /*event*/) const override { return script_.waits; }
  void start(const detail::Request& /*request*/) override {
    ++script_.started;
    finished_ = Event::manual();
    if (script_.breaks == rank_) finished_.fail(std::make_exception_ptr(DeviceError("the device is lost")));
    if (script_.completes) finished_.set();
  }
  bool enqueued() override { return true; }
  bool is_sound() override { return script_.sound; }
  Event finished() const override { return finished_; }
  Buffer allocate(std::int64_t /*size_bytes*/, MemoryKind /*kind*/) override { return {}; }
  void abort() noexcept override { ++script_.aborted; }

 private:
  Script& script_;
  int rank_;
  Event finished_;
};

void on_ranks(int size, int ranks_per_node, Script& script, const std::function<void(Rank&)>& body) {
  auto groups = make_thread_communicators(size, {kImpatient, ranks_per_node});
  auto sides = make_thread_communicators(size);
  const auto make = [&](int rank) {
    const auto r = static_cast<std::size_t>(rank);
    dynamic_cast<detail::GroupCommunicator&>(*groups[r]).use_device(std::make_unique<ScriptedCarrier>(script, rank));
    return Rank{.group = std::move(groups[r]), .side = std::move(sides[r])};
  };
  play_on_threads(size, make, body);
}

Work reduce(Rank& rank, Event after = {}) {
  static float data[64];
  return rank->all_reduce({data, DType::fp32, Shape{64}}, {}, {.label = "bucket 3", .after = std::move(after)});
}

/// Long enough for what is to happen without anybody's doing.
void poll(Rank& rank) {
  for (int polls = 0; polls < 1000; ++polls) rank->progress();
}

std::string error_of(const Work& work) {
  try {
    work.wait();
  } catch (const std::exception& error) {
    return error.what();
  }
  return {};
}

class DeviceCollectives : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(RanksOfANode, DeviceCollectives, testing::Values(0, 1, 2), testing::PrintToStringParamName());

TEST_P(DeviceCollectives, StartWhenTheLastRankHasComeWithItsInput) {
  Script script;
  on_ranks(4, GetParam(), script, [&](Rank& rank) {
    const Event ready = Event::manual();
    const Work work = reduce(rank, rank->rank() == 2 ? ready : Event());
    poll(rank);
    EXPECT_EQ(script.started, 0);
    rank.meet();
    ready.set();
    work.wait();
    EXPECT_EQ(error_of(work), "");
  });
  EXPECT_EQ(script.started, 4);
  EXPECT_EQ(script.aborted, 0);
}

TEST_P(DeviceCollectives, BeginBeforeTheirInputIsThereWhereTheDeviceWaitsForIt) {
  Script script;
  script.waits = true;
  on_ranks(4, GetParam(), script, [&](Rank& rank) {
    const Event ready = Event::manual();
    const Work work = reduce(rank, ready);
    work.wait();
    EXPECT_FALSE(ready.done());
    rank.meet();
  });
  EXPECT_EQ(script.started, 4);
}

TEST_P(DeviceCollectives, TheNextBeginsWhileTheDeviceIsAtWork) {
  Script script;
  script.completes = false;
  on_ranks(4, GetParam(), script, [&](Rank& rank) {
    const Work first = reduce(rank), second = reduce(rank);
    const Work of_the_host = rank->barrier({});
    while (script.started < 8) rank->progress();
    poll(rank);
    EXPECT_FALSE(first.done());
    EXPECT_FALSE(second.done());
    EXPECT_FALSE(of_the_host.done()) << "collectives complete in the order of their calls";
    rank.meet();
    rank->abort("enough");
    EXPECT_NE(error_of(first).find("enough"), std::string::npos);
    EXPECT_NE(error_of(of_the_host).find("enough"), std::string::npos);
  });
}

TEST_P(DeviceCollectives, OfARankWhoseInputIsLateNameThatRank) {
  Script script;
  script.waits = true;
  script.completes = false;
  on_ranks(4, GetParam(), script, [&](Rank& rank) {
    const Event ready = Event::manual();
    const Work work = reduce(rank, rank->rank() == 2 ? ready : Event());
    const std::string text = error_of(work);
    EXPECT_NE(text.find("all-reduce of \"bucket 3\": not reached by the device of rank 2 after"), std::string::npos) << text;
    rank.meet();
  });
}

TEST_P(DeviceCollectives, AreNotDoneBeforeTheDeviceSaysThatAllIsWell) {
  Script script;
  script.sound = false;
  on_ranks(4, GetParam(), script, [&](Rank& rank) {
    const Work work = reduce(rank);
    while (script.started < 4) rank->progress();
    poll(rank);
    EXPECT_FALSE(work.done());
    rank.meet();
    script.sound = true;
    work.wait();
  });
}

TEST_P(DeviceCollectives, ThatNeverEndAreGivenUpOnAllRanks) {
  Script script;
  script.completes = false;
  on_ranks(4, GetParam(), script, [&](Rank& rank) {
    const std::string text = error_of(reduce(rank));
    EXPECT_NE(text.find("all-reduce of \"bucket 3\": all ranks have come, scripted has not done it after"), std::string::npos)
        << text;
    rank.meet();
  });
  EXPECT_EQ(script.aborted, 4);
}

TEST_P(DeviceCollectives, OfARankWhoseDeviceFailsEndOnAllRanks) {
  Script script;
  script.completes = false;
  script.breaks = 1;
  on_ranks(4, GetParam(), script, [&](Rank& rank) {
    EXPECT_EQ(error_of(reduce(rank)), "rank 1 in all-reduce of \"bucket 3\": the device is lost");
    rank.meet();
  });
  EXPECT_EQ(script.aborted, 4);
}

TEST_P(DeviceCollectives, OfARankThatLeavesEndOnTheOthers) {
  if (GetParam() != 0) return;  // between nodes that are threads nobody sees who leaves: it comes down to the deadline
  Script script;
  script.completes = false;
  on_ranks(3, GetParam(), script, [&](Rank& rank) {
    const Work work = reduce(rank);
    if (rank->rank() == 1) {
      while (script.started < 3) rank->progress();
      rank.group.reset();
    } else {
      EXPECT_EQ(error_of(work), "rank 1 has left before all-reduce of \"bucket 3\"");
    }
    rank.meet();
  });
}

TEST_P(DeviceCollectives, AreNotStartedWhereRanksDisagree) {
  Script script;
  on_ranks(4, GetParam(), script, [&](Rank& rank) {
    float data[64] = {};
    const TensorView all(data, DType::fp32, Shape{64});
    const TensorView mine = rank->rank() == 3 ? all.slice(0, 63) : all;
    const std::string text = error_of(rank->all_reduce(mine, {}, {.label = "bucket 3", .after = {}}));
    EXPECT_NE(text.find("rank 3 calls all-reduce of \"bucket 3\" (63 fp32 on a device)"), std::string::npos) << text;
    rank.meet();
  });
  EXPECT_EQ(script.started, 0);
}

TEST_P(DeviceCollectives, WithoutTensorsStayWithTheGroup) {
  Script script;
  script.completes = false;
  on_ranks(4, GetParam(), script, [&](Rank& rank) {
    rank->barrier({}).wait();
    rank->all_gather({nullptr, DType::fp32, Shape{0}}, {}).wait();
  });
  EXPECT_EQ(script.started, 0);
}

}  // namespace
}  // namespace minim::test

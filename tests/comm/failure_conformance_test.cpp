// What every communicator does when ranks disagree, give up, fall silent or go: run by thread_test.cpp, tcp_test.cpp and
// mpi_test.cpp.

#include <fmt/format.h>

#include "group.h"
#include "minim/runtime/error.h"

namespace minim::test {
namespace {

constexpr std::chrono::milliseconds kImpatient{1500};

/// The text of the CommError that `call` throws; fails the test when it throws none.
template <class Call>
std::string comm_error(Call&& call) {
  try {
    call();
  } catch (const CommError& error) {
    return error.what();
  }
  ADD_FAILURE() << "no CommError was thrown";
  return {};
}

void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "\"" << text << "\" does not contain \"" << part << "\"";
}

using Issue = std::function<Work(Communicator&, TensorView)>;

struct Disagreement {
  Issue most;  ///< what all ranks but the last call
  Issue last;
  std::string most_text;
  std::string last_text;
};

std::vector<Disagreement> disagreements() {
  const Issue usual = [](Communicator& c, const TensorView& x) { return c.all_reduce(x, {}, {.label = "x", .after = {}}); };
  const std::string usual_text = "all-reduce of \"x\" (64 fp32)";
  return {
      {usual, [](Communicator& c, const TensorView& x) { return c.all_gather(x.slice(0, 0), {.label = "x", .after = {}}); },
       usual_text, "all-gather of \"x\" (0 fp32)"},
      {usual, [](Communicator& c, const TensorView& x) { return c.all_reduce(x.slice(0, 63), {}, {.label = "x", .after = {}}); },
       usual_text, "all-reduce of \"x\" (63 fp32)"},
      {usual,
       [](Communicator& c, const TensorView& x) {
         return c.all_reduce({x.raw(), DType::bf16, Shape{64}}, {}, {.label = "x", .after = {}});
       },
       usual_text, "all-reduce of \"x\" (64 bf16)"},
      {usual, [](Communicator& c, const TensorView& x) { return c.all_reduce(x, {}, {.label = "y", .after = {}}); }, usual_text,
       "all-reduce of \"y\" (64 fp32)"},
      {usual,
       [](Communicator& c, const TensorView& x) { return c.all_reduce(x, {.scale_exponent = -1}, {.label = "x", .after = {}}); },
       usual_text, "all-reduce of \"x\" (64 fp32) times 2^-1"},
      {[](Communicator& c, const TensorView& x) { return c.broadcast(x, 0, {.label = "x", .after = {}}); },
       [](Communicator& c, const TensorView& x) { return c.broadcast(x, c.size() - 1, {.label = "x", .after = {}}); },
       "broadcast of \"x\" from rank 0 (64 fp32)", "broadcast of \"x\" from rank"},
  };
}

TEST_P(ConformanceUnderFailure, RanksThatDisagreeAllGetAnErrorThatStatesBothSides) {
  if (size() == 1) return;  // nobody to disagree with
  for (const Disagreement& disagreement : disagreements()) {
    on_all_ranks([&](Rank& rank) {
      std::vector<float> data(64);
      const TensorView view(data.data(), DType::fp32, Shape{64});
      const bool last = rank->rank() == size() - 1;
      const std::string text = comm_error([&] { (last ? disagreement.last : disagreement.most)(*rank, view).wait(); });
      expect_contains(text, disagreement.most_text);
      expect_contains(text, disagreement.last_text);
      expect_contains(text, fmt::format("rank {} calls", size() - 1));
    });
  }
}

TEST_P(ConformanceUnderFailure, AbortReachesEveryRankWithItsReason) {
  on_all_ranks([&](Rank& rank) {
    const bool aborts = rank->rank() == size() - 1;
    const Event never = Event::manual();
    const Work work = rank->barrier({.label = "end", .after = aborts ? never : Event()});
    if (aborts) rank->abort("the disk is full");
    expect_contains(comm_error([&] { work.wait(); }), fmt::format("aborted by rank {}: the disk is full", size() - 1));
    EXPECT_THROW(work.event().wait(), CommError);
  });
}

TEST_P(ConformanceUnderFailure, LaterCollectivesFailWithTheSameError) {
  on_all_ranks([&](Rank& rank) {
    const Work before = rank->barrier({.label = "before", .after = Event::manual()});
    const Work behind = rank->barrier({.label = "behind", .after = {}});
    rank.meet();
    if (rank->rank() == 0) rank->abort("enough");
    const std::string text = comm_error([&] { before.wait(); });
    EXPECT_EQ(comm_error([&] { behind.wait(); }), text);
    EXPECT_EQ(comm_error([&] { rank->barrier({}).wait(); }), text);
    EXPECT_EQ(comm_error([&] { rank->progress(); }), text);
  });
}

TEST_P(ConformanceUnderFailure, TheDeadlineNamesTheMissingRankAndTheCollective) {
  if (size() == 1) return;  // nobody can be missing
  for (const int missing : {0, size() - 1}) {
    on_all_ranks(
        [&](Rank& rank) {
          std::vector<Half> data(100);
          rank.meet();
          if (rank->rank() != missing) {
            const Work work = rank->all_reduce({data.data(), DType::fp16, Shape{100}}, {}, {.label = "bucket 3", .after = {}});
            EXPECT_EQ(comm_error([&] { work.wait(); }),
                      fmt::format("all-reduce of \"bucket 3\": rank {} missing after 1.5 s", missing));
          }
          rank.meet();
          // The one that was late learns why nobody waited.
          expect_contains(comm_error([&] { rank->barrier({}).wait(); }), fmt::format("rank {} missing", missing));
        },
        kImpatient);
  }
}

TEST_P(ConformanceUnderFailure, SeveralMissingRanksAreAllNamed) {
  if (size() < 4) return;  // one rank waits for at least two
  on_all_ranks(
      [&](Rank& rank) {
        rank.meet();
        if (rank->rank() != 1 && rank->rank() != 2) {
          const std::string text = comm_error([&] { rank->barrier({.label = "end", .after = {}}).wait(); });
          // Ranks that exchange messages tell each other whom they miss; the first to give up may not have heard of all.
          const bool by_messages = rank->nodes() > 1 || GetParam().has_only_messages;
          const std::string both = "barrier of \"end\": ranks 1, 2 missing after 1.5 s";
          const std::string first = "barrier of \"end\": rank 1 missing after 1.5 s";
          const std::string second = "barrier of \"end\": rank 2 missing after 1.5 s";
          EXPECT_TRUE(text == both || (by_messages && (text == first || text == second))) << text;
        }
        rank.meet();
      },
      kImpatient);
}

TEST_P(ConformanceUnderFailure, TheDeadlineStartsWhenTheInputIsReady) {
  on_all_ranks(
      [&](Rank& rank) {
        const Event gate = Event::manual();
        const Work work = rank->barrier({.label = "patience", .after = gate});
        const auto start = std::chrono::steady_clock::now();
        while (std::chrono::steady_clock::now() - start < kImpatient * 5 / 4) rank->progress();
        EXPECT_FALSE(work.done());
        rank.meet();  // ranks of a busy machine may be further apart than the deadline
        gate.set();
        work.wait();
      },
      kImpatient);
}

TEST_P(ConformanceUnderFailure, ARankAtWorkIsWaitedForBeyondTheDeadline) {
  for (const int worker : {0, size() - 1}) {
    on_all_ranks(
        [&](Rank& rank) {
          rank.meet();
          const auto start = std::chrono::steady_clock::now();
          while (rank->rank() == worker && std::chrono::steady_clock::now() - start < 3 * kImpatient) rank->keep_alive();
          rank->barrier({.label = "end", .after = {}}).wait();
        },
        kImpatient);
  }
}

TEST_P(ConformanceUnderFailure, ARankThatFallsSilentAfterItsWorkIsNamed) {
  if (size() == 1) return;  // nobody waits
  const int worker = size() - 1;
  on_all_ranks(
      [&](Rank& rank) {
        rank.meet();
        const auto start = std::chrono::steady_clock::now();
        if (rank->rank() == worker) {
          while (std::chrono::steady_clock::now() - start < kImpatient) rank->keep_alive();
        } else {
          EXPECT_EQ(comm_error([&] { rank->barrier({.label = "end", .after = {}}).wait(); }),
                    fmt::format("barrier of \"end\": rank {} missing after 1.5 s", worker));
          // Signs of work from other nodes come twice per deadline, so the last that was heard may be that old already.
          EXPECT_GT(std::chrono::steady_clock::now() - start, kImpatient * 5 / 4);
        }
        rank.meet();
        if (rank->rank() == worker) {
          EXPECT_THROW(rank->keep_alive(), CommError);
        }
      },
      kImpatient);
}

TEST_P(ConformanceUnderFailure, ARankThatLeavesEarlyIsNamed) {
  if (size() == 1) return;  // nobody stays
  on_all_ranks(
      [&](Rank& rank) {
        if (rank->rank() == size() - 1) {
          rank.group.reset();
        } else {
          expect_contains(comm_error([&] { rank->barrier({.label = "end", .after = {}}).wait(); }),
                          fmt::format("rank {}", size() - 1));
        }
        rank.meet();
      },
      kImpatient);
}

TEST_P(ConformanceUnderFailure, AnInputThatFailsReachesEveryRank) {
  on_all_ranks([&](Rank& rank) {
    const Event broken = Event::manual();
    broken.fail(std::make_exception_ptr(DeviceError("out of memory in layer 3")));
    const bool fails = rank->rank() == size() - 1;
    const Work work = rank->barrier({.label = "end", .after = fails ? broken : Event()});
    if (fails) {
      EXPECT_THROW(work.wait(), DeviceError);
    } else {
      const std::string text = comm_error([&] { work.wait(); });
      expect_contains(text, "out of memory in layer 3");
      expect_contains(text, fmt::format("rank {}", size() - 1));
    }
  });
}

}  // namespace
}  // namespace minim::test

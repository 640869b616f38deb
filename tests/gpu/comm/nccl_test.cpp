// Runs the conformance suite on groups whose ranks have a CUDA device each, with NCCL for what lies there. Ranks are threads.

#include "minim/comm/nccl.h"

#include <thread>

#include "comm/rank_threads.h"
#include "comm/values.h"
#include "minim/comm/tcp.h"
#include "minim/runtime/cuda.h"
#include "minim/runtime/error.h"
#include "scratch_directory.h"

namespace minim::test {
namespace {

using MakeGroup = std::function<std::unique_ptr<Communicator>(int rank)>;

/// Makes a rank whose group has NCCL; rank r computes on device r.
Rank with_nccl(int rank, const MakeGroup& make_group, const MakeGroup& make_side) {
  Rank made{.backend = make_cuda_backend({.device = rank}), .group = make_group(rank), .side = make_side(rank)};
  use_nccl(*made.group, *made.backend);
  made.meet();  // what a rank does to its group from here on, it does to complete ones
  return made;
}

GroupKind among_threads(int size, int ranks_per_node) {
  return {.name = "Nccl" + std::to_string(size) + (ranks_per_node == 0 ? "OneNode" : "NodesOf" + std::to_string(ranks_per_node)),
          .size = size,
          .ranks_per_node = ranks_per_node,
          .run =
              [size, ranks_per_node](std::chrono::milliseconds deadline, const std::function<void(Rank&)>& body) {
                auto groups = make_thread_communicators(size, {deadline, ranks_per_node});
                auto sides = make_thread_communicators(size);
                const auto take = [](auto& from) {
                  return [&from](int rank) { return std::move(from[static_cast<std::size_t>(rank)]); };
                };
                play_on_threads(
                    size, [&](int rank) { return with_nccl(rank, take(groups), take(sides)); }, body);
              },
          .on_device = true,
          .adds_in_any_order = true};
}

GroupKind over_tcp(int size) {
  return {.name = "NcclTcp" + std::to_string(size),
          .size = size,
          .run =
              [size](std::chrono::milliseconds deadline, const std::function<void(Rank&)>& body) {
                const testing::ScratchDirectory folder;
                const auto join = [&](const char* name, std::chrono::milliseconds patience) {
                  return [&folder, name, patience, size](int rank) {
                    return make_tcp_communicator(
                        {.rank = rank, .size = size, .rendezvous = (folder.path() / name).string(), .deadline = patience});
                  };
                };
                play_on_threads(
                    size, [&](int rank) { return with_nccl(rank, join("group", deadline), join("side", kPatient)); }, body);
              },
          .has_only_messages = true,
          .on_device = true,
          .adds_in_any_order = true};
}

/// Of the kinds, those that there are devices for.
std::vector<GroupKind> that_fit(std::vector<GroupKind> kinds) {
  std::string reason;
  const int devices = cuda_device_count(reason);
  std::erase_if(kinds, [devices](const GroupKind& kind) { return kind.size > devices; });
  return kinds;
}

const auto kName = [](const ::testing::TestParamInfo<GroupKind>& kind) { return kind.param.name; };

INSTANTIATE_TEST_SUITE_P(Nccl, Conformance,
                         ::testing::ValuesIn(that_fit({among_threads(1, 0), among_threads(2, 0), among_threads(3, 0),
                                                       among_threads(4, 0), among_threads(4, 2), over_tcp(2), over_tcp(3)})),
                         kName);
INSTANTIATE_TEST_SUITE_P(
    Nccl, ConformanceUnderFailure,
    ::testing::ValuesIn(that_fit({among_threads(1, 0), among_threads(3, 0), among_threads(4, 2), over_tcp(3)})), kName);

/// What only groups with NCCL do.
class Nccl : public Conformance {};
INSTANTIATE_TEST_SUITE_P(Nccl, Nccl, ::testing::ValuesIn(that_fit({among_threads(1, 0), among_threads(3, 0), over_tcp(2)})),
                         kName);

TEST_P(Nccl, SaysWhatItIs) {
  on_all_ranks([](Rank& rank) { EXPECT_EQ(rank->name(), "nccl"); });
}

TEST_P(Nccl, ReducesWhileTheComputeStreamGoesOn) {
  on_all_ranks([&](Rank& rank) {
    Values<float> data(rank, 20'000, Place::allocated);
    for (std::int64_t i = 0; i < data.elements(); ++i) data[i] = 1;
    data.write();
    const auto compute = rank.backend->make_stream("compute");
    const Event gradients_complete = compute->record();
    const Event rest_of_backward = Event::manual();
    compute->wait(rest_of_backward);
    const Event backward_done = compute->record();
    rank->all_reduce(data.view(), {}, {.label = "bucket 1", .after = gradients_complete}).wait();
    EXPECT_FALSE(backward_done.done());
    rest_of_backward.set();
    compute->synchronize();
    data.read();
    EXPECT_EQ(data[19'999], static_cast<float>(size()));
  });
}

TEST_P(Nccl, PrecedesAStreamWithoutTheHost) {
  on_all_ranks([&](Rank& rank) {
    Values<float> data(rank, 1'000'000, Place::allocated);
    Values<float> seen(rank, 1, Place::ordinary);
    for (std::int64_t i = 0; i < data.elements(); ++i) data[i] = 1;
    data.write();
    const auto compute = rank.backend->make_stream("compute");
    const Work work = rank->all_reduce(data.view(), {}, {.label = "weights", .after = compute->record()});
    work.precede(*compute);
    compute->copy(seen.view(), data.view().slice(999'999, 1'000'000));
    // Ends although nobody drives the group any more.
    compute->synchronize();
    EXPECT_EQ(seen[0], static_cast<float>(size()));
    work.wait();
    work.precede(*compute);
    compute->synchronize();
  });
}

TEST_P(Nccl, MovesTensorsFromAnywhereOnTheDevice) {
  on_all_ranks([&](Rank& rank) {
    constexpr std::int64_t kCount = 1000;
    const Tensor elsewhere = rank.backend->allocate_tensor(DType::fp32, Shape{kCount}, MemoryKind::workspace);
    Values<float> ones(rank, kCount, Place::ordinary);
    for (std::int64_t i = 0; i < kCount; ++i) ones[i] = 1;
    rank.backend->copy(elsewhere, ones.view());
    rank->all_reduce(elsewhere, {}, {}).wait();
    rank.backend->copy(ones.view(), elsewhere);
    EXPECT_EQ(ones[kCount - 1], static_cast<float>(size()));
  });
}

TEST_P(Nccl, TensorsOnDevicesAndOnHostsDoNotMeet) {
  if (size() == 1) return;  // nobody to meet
  on_all_ranks([&](Rank& rank) {
    const bool last = rank->rank() == size() - 1;
    Values<float> on_device(rank, 64, Place::allocated);
    Values<float> on_host(rank, 64, Place::ordinary);
    try {
      rank->all_reduce(last ? on_host.view() : on_device.view(), {}, {.label = "x", .after = {}}).wait();
      ADD_FAILURE() << "no CommError was thrown";
    } catch (const CommError& error) {
      const std::string text = error.what();
      EXPECT_NE(text.find("rank 0 calls all-reduce of \"x\" (64 fp32 on a device), rank " + std::to_string(size() - 1) +
                          " calls all-reduce of \"x\" (64 fp32)"),
                std::string::npos)
          << text;
    }
  });
}

TEST_P(Nccl, ADisagreementIsFoundBeforeNcclHangs) {
  if (size() == 1) return;  // nobody to disagree with
  on_all_ranks([&](Rank& rank) {
    Values<float> data(rank, 64, Place::allocated);
    const std::int64_t count = rank->rank() == size() - 1 ? 63 : 64;
    try {
      rank->all_reduce(data.view().slice(0, count), {}, {.label = "bucket 2", .after = {}}).wait();
      ADD_FAILURE() << "no CommError was thrown";
    } catch (const CommError& error) {
      const std::string text = error.what();
      EXPECT_NE(text.find("(64 fp32 on a device)"), std::string::npos) << text;
      EXPECT_NE(text.find("(63 fp32 on a device)"), std::string::npos) << text;
    }
  });
}

TEST_P(Nccl, AllocationsOfDifferentSizesAreFound) {
  if (size() == 1) return;  // nobody to disagree with
  on_all_ranks([&](Rank& rank) {
    try {
      rank->allocate(*rank.backend, rank->rank() == size() - 1 ? 200 : 100, MemoryKind::gradients);
      ADD_FAILURE() << "no CommError was thrown";
    } catch (const CommError& error) {
      const std::string text = error.what();
      EXPECT_NE(text.find("allocation of 100 bytes"), std::string::npos) << text;
      EXPECT_NE(text.find("allocation of 200 bytes"), std::string::npos) << text;
    }
  });
}

TEST_P(Nccl, AnAbortEndsACollectiveThatWaitsForARank) {
  if (size() == 1) return;  // nobody to wait for
  on_all_ranks([&](Rank& rank) {
    Values<Half> data(rank, 1000, Place::allocated);
    fill(data, rank->rank());
    const bool last = rank->rank() == size() - 1;
    const Work work = rank->all_reduce(data.view(), {}, {.label = "bucket 3", .after = last ? Event::manual() : Event()});
    for (int polls = 0; polls < 1000; ++polls) rank->progress();
    EXPECT_FALSE(work.done());
    rank.meet();
    if (last) rank->abort("the disk is full");
    try {
      work.wait();
      ADD_FAILURE() << "no CommError was thrown";
    } catch (const CommError& error) {
      EXPECT_EQ(std::string(error.what()), "aborted by rank " + std::to_string(size() - 1) + ": the disk is full");
    }
  });
}

TEST_P(Nccl, ScalesThatTheTypeCannotHoldAreRefused) {
  on_all_ranks([&](Rank& rank) {
    Values<Half> data(rank, 64, Place::allocated);
    fill(data, rank->rank());
    // No FP16 number is 2^-25; on all ranks alike, so that the group ends as one.
    EXPECT_ANY_THROW(rank->all_reduce(data.view(), {.scale_exponent = -25}, {}).wait());
  });
}

TEST_P(Nccl, OtherBackendsKeepTheirMemory) {
  on_all_ranks([&](Rank& rank) {
    HostBackend host;
    const Buffer buffer = rank->allocate(host, 100, MemoryKind::weights);
    static_cast<char*>(buffer.data())[99] = 1;
    const auto group = make_self_communicator();
    EXPECT_THROW(use_nccl(*group, host), InvalidArgument);
  });
}

TEST(NcclInitialisation, NamesARankThatDoesNotCome) {
  std::string reason;
  if (cuda_device_count(reason) < 2) return;  // nobody to wait for
  auto groups = make_thread_communicators(3, {.deadline = std::chrono::milliseconds(500)});
  const auto come = [&](int rank) {
    const auto backend = make_cuda_backend({.device = rank});
    try {
      use_nccl(*groups[static_cast<std::size_t>(rank)], *backend);
      ADD_FAILURE() << "rank " << rank << " has not waited";
    } catch (const CommError& error) {
      EXPECT_STREQ(error.what(), "broadcast of \"NCCL's identifier\": rank 2 missing after 0.5 s");
    }
  };
  std::thread first(come, 0);
  std::thread second(come, 1);
  first.join();
  second.join();
}

TEST(CommunicatorsOfTheHost, HaveNoMemoryOfDevices) {
  const testing::ScratchDirectory folder;
  const auto backend = make_cuda_backend({});
  const auto group = make_tcp_communicator({.rank = 0, .size = 1, .rendezvous = (folder.path() / "ranks").string()});
  EXPECT_THROW(group->allocate(*backend, 100, MemoryKind::weights), InvalidArgument);
}

}  // namespace
}  // namespace minim::test

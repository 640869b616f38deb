// The double of NCCL, used as minim uses NCCL. Ranks are threads.

#include <cuda_fp16.h>
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>
#include <nccl.h>

#include <csignal>
#include <cstring>
#include <functional>
#include <thread>
#include <vector>

namespace {

constexpr int kRefused = 86;

ncclUniqueId id_named(const char* name) {
  ncclUniqueId id{};
  std::strcpy(id.internal, name);
  return id;
}

ncclUniqueId new_id() {
  ncclUniqueId id{};
  EXPECT_EQ(ncclGetUniqueId(&id), ncclSuccess);
  return id;
}

/// One rank of a non-blocking communicator, with a device and a stream.
class Rank {
 public:
  Rank(const ncclUniqueId& id, int rank, int size, int device) : rank_(rank) {
    EXPECT_EQ(cudaSetDevice(device), cudaSuccess);
    EXPECT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    EXPECT_EQ(ncclCommInitRankConfig(&comm, size, id, rank, &config), ncclInProgress);
  }
  int rank() const { return rank_; }

  /// Looks until the last call has been carried out.
  ncclResult_t settle() const {
    ncclResult_t state = ncclInProgress;
    while (state == ncclInProgress) {
      EXPECT_EQ(ncclCommGetAsyncError(comm, &state), ncclSuccess);
      std::this_thread::yield();
    }
    return state;
  }
  void finish() const {
    EXPECT_EQ(settle(), ncclSuccess);
    EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  }
  /// Memory of the device that holds `values`.
  template <class T>
  static T* on_device(const std::vector<T>& values) {
    void* memory = nullptr;
    EXPECT_EQ(cudaMalloc(&memory, values.size() * sizeof(T)), cudaSuccess);
    return write(static_cast<T*>(memory), values);
  }
  template <class T>
  static T* write(T* memory, const std::vector<T>& values) {
    EXPECT_EQ(cudaMemcpy(memory, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice), cudaSuccess);
    return memory;
  }
  template <class T>
  static T read(const T* memory) {
    T value{};
    EXPECT_EQ(cudaMemcpy(&value, memory, sizeof(T), cudaMemcpyDeviceToHost), cudaSuccess);
    return value;
  }

  ncclComm_t comm = nullptr;
  cudaStream_t stream = nullptr;

 private:
  int rank_;
};

/// Runs `body` as every rank of a communicator.
void on_ranks(int size, const std::function<void(Rank&)>& body) {
  const ncclUniqueId id = new_id();
  std::vector<std::thread> threads;
  for (int r = 0; r < size; ++r) {
    threads.emplace_back([&, r] {
      Rank rank(id, r, size, r);
      EXPECT_EQ(rank.settle(), ncclSuccess);
      body(rank);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

/// 2048 + 1 is no FP16 number.
std::vector<__half> hard_to_add(int rank) { return {__float2half_rn(rank == 1 ? 2048.0F : 1.0F)}; }

TEST(NcclDouble, RoundsToTheWireTypeAtEveryHop) {
  on_ranks(3, [](Rank& rank) {
    __half* const data = Rank::on_device(hard_to_add(rank.rank()));
    EXPECT_EQ(ncclAllReduce(data, data, 1, ncclFloat16, ncclSum, rank.comm, rank.stream), ncclInProgress);
    rank.finish();
    EXPECT_EQ(__half2float(Rank::read(data)), 2048.0F);
  });
}

TEST(NcclDouble, RoundsOnceInWindows) {
  on_ranks(3, [](Rank& rank) {
    void* memory = nullptr;
    ncclWindow_t window = nullptr;
    EXPECT_EQ(ncclMemAlloc(&memory, 4096), ncclSuccess);
    EXPECT_EQ(ncclCommWindowRegister(rank.comm, memory, 4096, &window, NCCL_WIN_COLL_SYMMETRIC), ncclInProgress);
    EXPECT_EQ(rank.settle(), ncclSuccess);
    __half* const data = Rank::write(static_cast<__half*>(memory), hard_to_add(rank.rank()));
    ncclAllReduce(data, data, 1, ncclFloat16, ncclSum, rank.comm, rank.stream);
    rank.finish();
    EXPECT_EQ(__half2float(Rank::read(data)), 2050.0F);
    EXPECT_EQ(ncclCommWindowDeregister(rank.comm, window), ncclSuccess);
    EXPECT_EQ(ncclMemFree(memory), ncclSuccess);
  });
}

TEST(NcclDouble, ScalesWhatEveryRankBrings) {
  on_ranks(2, [](Rank& rank) {
    float* const data = Rank::on_device(std::vector<float>{rank.rank() + 1.0F});
    float factor = 0.5F;
    ncclRedOp_t half_sum{};
    EXPECT_EQ(ncclRedOpCreatePreMulSum(&half_sum, &factor, ncclFloat32, ncclScalarHostImmediate, rank.comm), ncclSuccess);
    ncclAllReduce(data, data, 1, ncclFloat32, half_sum, rank.comm, rank.stream);
    rank.finish();
    EXPECT_EQ(Rank::read(data), 1.5F);
    EXPECT_EQ(ncclRedOpDestroy(half_sum, rank.comm), ncclSuccess);
    EXPECT_EQ(ncclAllReduce(data, data, 1, ncclFloat32, half_sum, rank.comm, rank.stream), ncclInvalidArgument);
  });
}

TEST(NcclDouble, CarriesMessagesOfAGroupInAnyOrder) {
  constexpr std::size_t kCount = 100'000;  // some pieces
  on_ranks(3, [](Rank& rank) {
    int* const send = Rank::on_device(std::vector<int>(kCount, rank.rank()));
    int* const receive = Rank::on_device(std::vector<int>(3 * kCount, -1));
    ncclGroupStart();
    for (int peer = 2; peer >= 0; --peer) {
      EXPECT_EQ(ncclSend(send, kCount, ncclInt32, peer, rank.comm, rank.stream), ncclSuccess);
    }
    for (int peer = 0; peer < 3; ++peer) {
      EXPECT_EQ(ncclRecv(receive + static_cast<std::size_t>(peer) * kCount, kCount, ncclInt32, peer, rank.comm, rank.stream),
                ncclSuccess);
    }
    EXPECT_EQ(ncclGroupEnd(), ncclInProgress);
    rank.finish();
    for (int peer = 0; peer < 3; ++peer) EXPECT_EQ(Rank::read(receive + static_cast<std::size_t>(peer + 1) * kCount - 1), peer);
  });
}

TEST(NcclDouble, EnqueuesNothingBeforeItHasBeenLookedAtTwice) {
  on_ranks(1, [](Rank& rank) {
    float* const from = Rank::on_device(std::vector<float>{1});
    float* const to = Rank::on_device(std::vector<float>{0});
    EXPECT_EQ(ncclAllGather(from, to, 1, ncclFloat32, rank.comm, rank.stream), ncclInProgress);
    ncclResult_t state{};
    ncclCommGetAsyncError(rank.comm, &state);
    EXPECT_EQ(state, ncclInProgress);
    EXPECT_EQ(cudaStreamSynchronize(rank.stream), cudaSuccess);
    EXPECT_EQ(Rank::read(to), 0.0F) << "an event recorded by now would come before the collective";
    rank.finish();
    EXPECT_EQ(Rank::read(to), 1.0F);
  });
}

TEST(NcclDouble, WantsADeviceForEachRank) {
  const ncclUniqueId id = new_id();
  const auto join = [&](int r) { EXPECT_EQ(Rank(id, r, 2, /*device=*/0).settle(), ncclInvalidUsage); };
  std::thread first(join, 0);
  std::thread second(join, 1);
  first.join();
  second.join();
}

TEST(NcclDouble, AnAbortedRankTellsNobody) {
  on_ranks(2, [](Rank& rank) {
    float* const data = Rank::on_device(std::vector<float>{1});
    if (rank.rank() == 1) {
      EXPECT_EQ(ncclCommAbort(rank.comm), ncclSuccess);
      return;
    }
    ncclAllReduce(data, data, 1, ncclFloat32, ncclSum, rank.comm, rank.stream);
    EXPECT_EQ(rank.settle(), ncclSuccess);
    for (int polls = 0; polls < 1000; ++polls) ASSERT_EQ(cudaStreamQuery(rank.stream), cudaErrorNotReady);
    EXPECT_EQ(ncclCommAbort(rank.comm), ncclSuccess);
    EXPECT_EQ(cudaStreamSynchronize(rank.stream), cudaSuccess);
  });
}

/// Programs that the double ends; each is run in a process of its own.
class NcclDoubleDeathTest : public testing::Test {
 protected:
  NcclDoubleDeathTest() { testing::FLAGS_gtest_death_test_style = "threadsafe"; }
};

TEST_F(NcclDoubleDeathTest, FindsThatAPeerHasEnded) {
  const ncclUniqueId id = id_named("/minim-nccl-double-test");
  EXPECT_EXIT(
      {
        const Rank rank(id, 1, 2, 1);
        std::raise(SIGKILL);
      },
      testing::KilledBySignal(SIGKILL), "");
  Rank rank(id, 0, 2, 0);
  EXPECT_EQ(rank.settle(), ncclSuccess);
  float* const data = Rank::on_device(std::vector<float>{1});
  ncclAllReduce(data, data, 1, ncclFloat32, ncclSum, rank.comm, rank.stream);
  EXPECT_EQ(rank.settle(), ncclSuccess);
  EXPECT_EQ(cudaStreamSynchronize(rank.stream), cudaSuccess);
  ncclResult_t state{};
  EXPECT_EQ(ncclCommGetAsyncError(rank.comm, &state), ncclSuccess);
  EXPECT_EQ(state, ncclRemoteError);
}

TEST_F(NcclDoubleDeathTest, RefusesRanksThatDiffer) {
  const auto differ = [](std::size_t by, ncclDataType_t type, ncclRedOp_t operation) {
    on_ranks(2, [&](Rank& rank) {
      float* const data = Rank::on_device(std::vector<float>(10));
      const bool first = rank.rank() == 0;
      ncclAllReduce(data, data, first ? 8 : 8 + by, first ? ncclFloat32 : type, first ? ncclSum : operation, rank.comm,
                    rank.stream);
      rank.finish();
    });
  };
  EXPECT_EXIT(differ(1, ncclFloat32, ncclSum), testing::ExitedWithCode(kRefused), "ranks differ in what they call of NCCL");
  EXPECT_EXIT(differ(0, ncclFloat16, ncclSum), testing::ExitedWithCode(kRefused), "ranks differ in what they call of NCCL");
  EXPECT_EXIT(on_ranks(2,
                       [](Rank& rank) {
                         float* const data = Rank::on_device(std::vector<float>(10));
                         ncclBroadcast(data, data, 8, ncclFloat32, rank.rank(), rank.comm, rank.stream);
                         rank.finish();
                       }),
              testing::ExitedWithCode(kRefused), "root");
}

TEST_F(NcclDoubleDeathTest, RefusesMessagesOfDifferentSizes) {
  EXPECT_EXIT(on_ranks(2,
                       [](Rank& rank) {
                         int* const data = Rank::on_device(std::vector<int>(10));
                         ncclGroupStart();
                         if (rank.rank() == 0) ncclSend(data, 10, ncclInt32, 1, rank.comm, rank.stream);
                         if (rank.rank() == 1) ncclRecv(data, 9, ncclInt32, 0, rank.comm, rank.stream);
                         ncclGroupEnd();
                         rank.finish();
                       }),
              testing::ExitedWithCode(kRefused), "rank 1 receives 36 bytes from rank 0, which sends 40");
}

TEST_F(NcclDoubleDeathTest, RefusesACallBeforeTheOneBeforeIsCarriedOut) {
  EXPECT_EXIT(on_ranks(1,
                       [](Rank& rank) {
                         float* const data = Rank::on_device(std::vector<float>{1});
                         ncclAllReduce(data, data, 1, ncclFloat32, ncclSum, rank.comm, rank.stream);
                         ncclAllReduce(data, data, 1, ncclFloat32, ncclSum, rank.comm, rank.stream);
                       }),
              testing::ExitedWithCode(kRefused), "before the call before it has been carried out");
}

TEST_F(NcclDoubleDeathTest, RefusesMemoryOfTheHost) {
  EXPECT_EXIT(on_ranks(1,
                       [](Rank& rank) {
                         float data = 1;
                         ncclAllReduce(&data, &data, 1, ncclFloat32, ncclSum, rank.comm, rank.stream);
                       }),
              testing::ExitedWithCode(kRefused), "ncclAllReduce is given memory that is not a device's");
}

TEST_F(NcclDoubleDeathTest, RefusesToFreeMemoryUnderAWindow) {
  EXPECT_EXIT(on_ranks(1,
                       [](Rank& rank) {
                         void* memory = nullptr;
                         ncclWindow_t window = nullptr;
                         ncclMemAlloc(&memory, 4096);
                         ncclCommWindowRegister(rank.comm, memory, 4096, &window, NCCL_WIN_COLL_SYMMETRIC);
                         rank.settle();
                         ncclMemFree(memory);
                       }),
              testing::ExitedWithCode(kRefused), "memory with a window on it");
}

TEST_F(NcclDoubleDeathTest, RefusesACommunicatorThatIsGone) {
  EXPECT_EXIT(on_ranks(1,
                       [](Rank& rank) {
                         float* const data = Rank::on_device(std::vector<float>{1});
                         ncclCommAbort(rank.comm);
                         ncclAllReduce(data, data, 1, ncclFloat32, ncclSum, rank.comm, rank.stream);
                       }),
              testing::ExitedWithCode(kRefused), "destroyed or aborted");
}

}  // namespace

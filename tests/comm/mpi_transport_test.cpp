#include "mpi_transport.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <vector>

namespace minim::detail {
namespace {

/// Numbers that two ranks of a machine see without calling MPI, so that one can wait while its MPI stands still.
class Flag {
 public:
  Flag() {
    void* base = nullptr;
    MPI_Win_allocate_shared(sizeof(std::atomic<int>), 1, MPI_INFO_NULL, MPI_COMM_WORLD, &base, &window_);
    MPI_Aint size_bytes = 0;
    int unit_bytes = 0;
    MPI_Win_shared_query(window_, 0, &size_bytes, &unit_bytes, &base);
    int rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    value_ = rank == 0 ? new (base) std::atomic<int>(0) : static_cast<std::atomic<int>*>(base);
    MPI_Barrier(MPI_COMM_WORLD);
  }
  ~Flag() { MPI_Win_free(&window_); }
  void set(int value) { value_->store(value); }
  void wait_for(int value) const {
    while (value_->load() < value) {
    }
  }

 private:
  MPI_Win window_ = MPI_WIN_NULL;
  std::atomic<int>* value_ = nullptr;
};

class MpiTransportTest : public ::testing::Test {
 protected:
  // Too large to travel in one go: its head arrives, meets the receive, and the rest waits for both ranks' MPI.
  static constexpr std::int64_t kMessageBytes = std::int64_t{8} << 20;
  static constexpr int kPolls = 10000;

  MpiTransportTest() {
    MPI_Comm_dup(MPI_COMM_WORLD, &comm_);
    MPI_Comm_rank(comm_, &rank_);
    MPI_Comm_size(comm_, &size_);
  }
  ~MpiTransportTest() override { MPI_Comm_free(&comm_); }

  /// Polls until the message is through, which takes the other rank's MPI as well.
  static void finish(MpiTransport& transport) {
    while (!transport.complete()) {
    }
  }

  MPI_Comm comm_ = MPI_COMM_NULL;
  int rank_ = 0, size_ = 1;
};

TEST_F(MpiTransportTest, AMessageGivenUpHalfWayLeavesTheReceiversMemoryAlone) {
  if (size_ < 2) return;  // nobody sends
  Flag flag;
  std::vector<std::byte> data(kMessageBytes, rank_ == 1 ? std::byte{1} : std::byte{0});
  if (rank_ == 0) {
    MpiTransport transport(comm_);
    transport.receive(1, data.data(), kMessageBytes, Memory::caller);
    flag.wait_for(1);
    bool through = false;
    for (int i = 0; i < kPolls && !through; ++i) through = transport.complete();
    EXPECT_FALSE(through) << "the message came in one go: the test shows nothing";
    transport.abandon();
    std::fill(data.begin(), data.end(), std::byte{2});
    flag.set(2);
  } else if (rank_ == 1) {
    MpiTransport transport(comm_);
    transport.send(0, data.data(), kMessageBytes, Memory::caller);
    flag.set(1);
    flag.wait_for(2);
    finish(transport);
  }
  MPI_Barrier(MPI_COMM_WORLD);  // rank 0's MPI goes on with what rank 1 sends
  const bool untouched = std::all_of(data.begin(), data.end(), [](std::byte byte) { return byte == std::byte{2}; });
  EXPECT_TRUE(rank_ != 0 || untouched);
}

TEST_F(MpiTransportTest, AMessageGivenUpHalfWayDoesNotReadTheSendersMemory) {
  if (size_ < 2) return;  // nobody receives
  Flag flag;
  std::vector<std::byte> data(kMessageBytes, rank_ == 1 ? std::byte{1} : std::byte{0});
  if (rank_ == 0) {
    MpiTransport transport(comm_);
    flag.wait_for(1);
    transport.receive(1, data.data(), kMessageBytes, Memory::caller);
    finish(transport);
    EXPECT_EQ(std::count(data.begin(), data.end(), std::byte{1}), kMessageBytes);
  } else if (rank_ == 1) {
    MpiTransport transport(comm_);
    transport.send(0, data.data(), kMessageBytes, Memory::caller);
    transport.abandon();
    std::fill(data.begin(), data.end(), std::byte{2});
    flag.set(1);
  }
  MPI_Barrier(MPI_COMM_WORLD);
}

TEST_F(MpiTransportTest, MemoryOfOneExchangeServesTheNext) {
  MessageMemory memory;
  std::byte* const first = memory.take(100);
  std::byte* const second = memory.take(kMessageBytes);
  EXPECT_NE(first, second);
  memory.reset();
  EXPECT_EQ(memory.take(100), first);
  EXPECT_EQ(memory.take(kMessageBytes), second);
}

}  // namespace
}  // namespace minim::detail

#include "tcp_transport.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "minim/runtime/error.h"

namespace minim::detail {
namespace {

/// Ranks 0 and 1 of a group of two, in one thread.
class TcpTransports : public testing::Test {
 protected:
  // More than the sockets of both sides hold together: a part of it waits until the other rank reads.
  static constexpr std::int64_t kLargeBytes = std::int64_t{16} << 20;

  TcpTransports() {
    int ends[2] = {};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    for (int rank = 0; rank < 2; ++rank) {
      std::vector<Descriptor> peers(2);
      peers[static_cast<std::size_t>(1 - rank)] = Descriptor(ends[rank]);
      ranks_[rank] = std::make_unique<TcpTransport>(std::move(peers));
    }
  }

  /// Polls both until both are through.
  void finish() {
    for (bool through = false; !through;) {
      const bool first = ranks_[0]->complete();
      through = ranks_[1]->complete() && first;
    }
  }
  void send(int from, const std::vector<std::byte>& data) {
    ranks_[from]->send(1 - from, data.data(), static_cast<std::int64_t>(data.size()), Memory::caller);
  }
  void receive(int to, std::vector<std::byte>& data) {
    ranks_[to]->receive(1 - to, data.data(), static_cast<std::int64_t>(data.size()), Memory::caller);
  }
  static std::vector<std::byte> filled(std::int64_t size_bytes, int with) {
    return std::vector<std::byte>(static_cast<std::size_t>(size_bytes), static_cast<std::byte>(with));
  }
  static Notice notice_that(const char* text) {
    Notice notice;
    std::strcpy(notice.text, text);
    return notice;
  }

  std::unique_ptr<TcpTransport> ranks_[2];
};

TEST_F(TcpTransports, CarryLargeMessagesBothWaysAtOnce) {
  const auto zeros = filled(kLargeBytes, 0), ones = filled(kLargeBytes, 1);
  auto at_0 = filled(kLargeBytes, 9), at_1 = filled(kLargeBytes, 9);
  send(0, zeros);
  send(1, ones);
  EXPECT_FALSE(ranks_[0]->complete()) << "the sockets hold all of it: the test shows nothing";
  receive(0, at_0);
  receive(1, at_1);
  EXPECT_EQ(ranks_[0]->awaited(), std::vector<int>{1});
  finish();
  EXPECT_EQ(at_0, ones);
  EXPECT_EQ(at_1, zeros);
  EXPECT_TRUE(ranks_[0]->awaited().empty());
}

TEST_F(TcpTransports, KeepMessagesThatCameBeforeTheyWereAskedForInOrder) {
  const auto one = filled(100, 1), two = filled(200, 2), none = filled(0, 0);
  send(0, one);
  send(0, none);
  send(0, two);
  EXPECT_FALSE(ranks_[1]->poll_notice());  // reads them
  auto first = filled(100, 0), second = filled(0, 0), third = filled(200, 0);
  receive(1, first);
  receive(1, second);
  receive(1, third);
  finish();
  EXPECT_EQ(first, one);
  EXPECT_EQ(third, two);
}

TEST_F(TcpTransports, AskForAMessageWhileItIsArriving) {
  const auto data = filled(kLargeBytes, 3);
  auto arrived = filled(kLargeBytes, 0);
  send(0, data);
  EXPECT_FALSE(ranks_[1]->poll_notice());  // reads its beginning
  receive(1, arrived);
  finish();
  EXPECT_EQ(arrived, data);
}

TEST_F(TcpTransports, RefuseAMessageOfAnotherSize) {
  const auto data = filled(100, 1);
  auto small = filled(99, 0);
  send(0, data);
  receive(1, small);
  EXPECT_THROW(ranks_[1]->complete(), CommError);
}

TEST_F(TcpTransports, GetNoticesThroughBehindMessages) {
  const auto data = filled(1000, 1);
  send(0, data);
  ranks_[0]->notify(1, notice_that("the disk is full"));
  const auto notice = ranks_[1]->poll_notice();
  ASSERT_TRUE(notice);
  EXPECT_STREQ(notice->text, "the disk is full");
  EXPECT_FALSE(ranks_[1]->poll_notice());
}

TEST_F(TcpTransports, LeaveMemoryAloneAfterTheyHaveGivenUpHalfWay) {
  auto data = filled(kLargeBytes, 1), arriving = filled(kLargeBytes, 0);
  send(0, data);
  receive(1, arriving);
  EXPECT_FALSE(ranks_[1]->complete());
  for (auto& rank : ranks_) rank->abandon();
  std::fill(data.begin(), data.end(), std::byte{7});
  std::fill(arriving.begin(), arriving.end(), std::byte{8});
  ranks_[0]->notify(1, notice_that("enough"));
  std::optional<Notice> notice;
  while (!notice) {
    ranks_[0]->poll_notice();
    notice = ranks_[1]->poll_notice();
  }
  EXPECT_STREQ(notice->text, "enough") << "what had begun must be ended, or nothing behind it is understood";
  EXPECT_EQ(arriving, filled(kLargeBytes, 8));
}

TEST_F(TcpTransports, KnowThatARankHasGoneWhenAllIsReadThatItSent) {
  ranks_[0]->notify(1, notice_that("goodbye"));
  ranks_[0].reset();
  EXPECT_FALSE(ranks_[1]->lost(0));
  ranks_[1]->notify(0, notice_that("are you there?"));  // finds nobody
  const auto notice = ranks_[1]->poll_notice();
  ASSERT_TRUE(notice);
  EXPECT_STREQ(notice->text, "goodbye");
  EXPECT_FALSE(ranks_[1]->poll_notice());
  EXPECT_TRUE(ranks_[1]->lost(0));
}

}  // namespace
}  // namespace minim::detail

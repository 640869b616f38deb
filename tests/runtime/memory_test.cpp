#include "minim/runtime/memory.h"

#include <gtest/gtest.h>

#include <set>
#include <thread>
#include <vector>

namespace minim {
namespace {

/// A buffer over nothing in particular that counts how often it is released.
Buffer counted(std::int64_t size_bytes, MemoryKind kind, const std::shared_ptr<MemoryAccount>& account, int& releases) {
  static char place;
  return {&place, size_bytes, kind, account, [&releases](void* data) { releases += data == &place ? 1 : 1000; }};
}

TEST(MemoryKind, HasANameForEach) {
  std::set<std::string_view> names;
  for (int i = 0; i < kMemoryKinds; ++i) names.insert(name(static_cast<MemoryKind>(i)));
  EXPECT_EQ(names.size(), static_cast<std::size_t>(kMemoryKinds));
  EXPECT_TRUE(names.contains("master weights"));
}

TEST(MemoryAccount, KeepsBooksByKind) {
  MemoryAccount account;
  account.add(MemoryKind::weights, 100);
  account.add(MemoryKind::moments, 20);
  account.add(MemoryKind::weights, 3);
  account.remove(MemoryKind::weights, 100);
  EXPECT_EQ(account.in_use_bytes(MemoryKind::weights), 3);
  EXPECT_EQ(account.in_use_bytes(MemoryKind::moments), 20);
  EXPECT_EQ(account.in_use_bytes(MemoryKind::staging), 0);
  EXPECT_EQ(account.in_use_bytes(), 23);
  EXPECT_EQ(account.peak_bytes(), 123);
}

TEST(MemoryAccount, LosesNothingBetweenThreads) {
  MemoryAccount account;
  const auto book = [&account] {
    for (int i = 0; i < 10000; ++i) {
      account.add(MemoryKind::input, 3);
      account.remove(MemoryKind::input, 2);
    }
  };
  std::thread other(book);
  book();
  other.join();
  EXPECT_EQ(account.in_use_bytes(MemoryKind::input), 20000);
  EXPECT_EQ(account.in_use_bytes(), 20000);
  EXPECT_GE(account.peak_bytes(), 20000);
}

TEST(Buffer, BooksItsBytesWhileItLives) {
  const auto account = std::make_shared<MemoryAccount>();
  int releases = 0;
  {
    const Buffer buffer = counted(64, MemoryKind::gradients, account, releases);
    EXPECT_TRUE(buffer);
    EXPECT_EQ(buffer.size_bytes(), 64);
    EXPECT_EQ(account->in_use_bytes(MemoryKind::gradients), 64);
    EXPECT_EQ(releases, 0);
  }
  EXPECT_EQ(releases, 1);
  EXPECT_EQ(account->in_use_bytes(), 0);
}

TEST(Buffer, MovesWithoutReleasing) {
  const auto account = std::make_shared<MemoryAccount>();
  int releases = 0;
  Buffer first = counted(64, MemoryKind::gradients, account, releases);
  {
    const Buffer second = std::move(first);
    EXPECT_TRUE(second);
    EXPECT_FALSE(first);  // NOLINT: what a moved-from buffer is, is part of the contract
    EXPECT_EQ(first.size_bytes(), 0);
    EXPECT_EQ(account->in_use_bytes(), 64);
    EXPECT_EQ(releases, 0);
  }
  EXPECT_EQ(releases, 1);
}

TEST(Buffer, ReleasesWhatItHeldWhenAssigned) {
  const auto account = std::make_shared<MemoryAccount>();
  int first_releases = 0, second_releases = 0;
  Buffer first = counted(64, MemoryKind::gradients, account, first_releases);
  Buffer second = counted(32, MemoryKind::weights, account, second_releases);
  first = std::move(second);
  EXPECT_EQ(first_releases, 1);
  EXPECT_EQ(second_releases, 0);
  EXPECT_EQ(first.size_bytes(), 32);
  EXPECT_EQ(account->in_use_bytes(), 32);
  first = Buffer();
  EXPECT_EQ(second_releases, 1);
  EXPECT_EQ(account->in_use_bytes(), 0);
}

TEST(RoundUp, GivesTheNextMultiple) {
  EXPECT_EQ(round_up(0, 64), 0);
  EXPECT_EQ(round_up(1, 64), 64);
  EXPECT_EQ(round_up(64, 64), 64);
  EXPECT_EQ(round_up(65, 64), 128);
}

}  // namespace
}  // namespace minim

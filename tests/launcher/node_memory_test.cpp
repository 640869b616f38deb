#include "command/node_memory.h"

#include <gtest/gtest.h>

#include "launcher/files.h"
#include "launcher/rank_threads.h"
#include "scratch_directory.h"

namespace minim::command {
namespace {

namespace fs = std::filesystem;

/// Directories /proc and /sys as a machine with 1000 KiB of available memory has them.
class AvailableMemory : public ::testing::Test {
 protected:
  static constexpr std::int64_t kMachine = 1000 * 1024;

  void SetUp() override {
    write("proc/meminfo", "MemTotal:       4000 kB\nMemFree:         100 kB\nMemAvailable:   1000 kB\nHugePages_Total:   0\n");
  }
  void write(const fs::path& name, const std::string& text) const {
    fs::create_directories((root_.path() / name).parent_path());
    testing::write_file(root_.path() / name, text);
  }
  void write_v1(const fs::path& group, const std::string& limit, const std::string& usage) const {
    write(fs::path("sys/fs/cgroup/memory") / group / "memory.limit_in_bytes", limit + "\n");
    write(fs::path("sys/fs/cgroup/memory") / group / "memory.usage_in_bytes", usage + "\n");
  }
  void write_v2(const fs::path& group, const std::string& limit, const std::string& usage) const {
    write(fs::path("sys/fs/cgroup") / group / "memory.max", limit + "\n");
    write(fs::path("sys/fs/cgroup") / group / "memory.current", usage + "\n");
  }
  std::optional<std::int64_t> available() const { return available_memory_bytes(root_.path()); }

 private:
  testing::ScratchDirectory root_;
};

TEST_F(AvailableMemory, IsTheMachinesWhereNoGroupIsKnown) { EXPECT_EQ(available(), kMachine); }

TEST_F(AvailableMemory, IsUnknownWhereTheSystemSaysNothing) {
  const testing::ScratchDirectory empty;
  EXPECT_FALSE(available_memory_bytes(empty.path()).has_value());
}

TEST_F(AvailableMemory, IsWhatAGroupOfVersion2HasLeft) {
  write("proc/self/cgroup", "0::/job/step\n");
  write_v2("job/step", "500000", "200000");
  EXPECT_EQ(available(), 300000);
}

TEST_F(AvailableMemory, IsWhatAGroupAroundItHasLeft) {
  write("proc/self/cgroup", "0::/job/step/task\n");
  write_v2("job/step/task", "max", "1");
  write_v2("job/step", "500000", "100000");
  write_v2("job", "600000", "350000");
  EXPECT_EQ(available(), 250000);
}

TEST_F(AvailableMemory, IsTheMachinesWhereTheGroupAllowsMore) {
  write("proc/self/cgroup", "0::/job\n");
  write_v2("job", "5000000", "100000");
  EXPECT_EQ(available(), kMachine);
  write_v2("job", "max", "100000");
  EXPECT_EQ(available(), kMachine);
}

TEST_F(AvailableMemory, CachesOfFilesAreNotTaken) {
  write("proc/self/cgroup", "0::/job\n");
  write_v2("job", "500000", "450000");
  write("sys/fs/cgroup/job/memory.stat", "anon 50000\nfile 400000\ninactive_file 300000\nactive_file 100000\n");
  EXPECT_EQ(available(), 450000);
}

TEST_F(AvailableMemory, IsWhatAGroupOfVersion1HasLeft) {
  write("proc/self/cgroup", "5:cpu,cpuacct:/elsewhere\n4:hugetlb,memory:/slurm/job_7\n0::/\n");
  write_v1("slurm/job_7", "500000", "450000");
  write("sys/fs/cgroup/memory/slurm/job_7/memory.stat", "cache 1\ntotal_inactive_file 20000\ntotal_active_file 30000\n");
  write_v1("", "9223372036854771712", "900000");
  EXPECT_EQ(available(), 100000);
}

TEST_F(AvailableMemory, AContainersGroupLiesAtTheMount) {
  write("proc/self/cgroup", "4:memory:/docker/0123\n");
  write_v1("", "400000", "100000");
  EXPECT_EQ(available(), 300000);
}

TEST_F(AvailableMemory, AGroupThatHasOverdrawnItsLimitHasNothingLeft) {
  write("proc/self/cgroup", "0::/job\n");
  write_v2("job", "500000", "500001");
  EXPECT_EQ(available(), 0);
}

TEST_F(AvailableMemory, LinesThatAreNoGroupsAreIgnored) {
  write("proc/self/cgroup", "nonsense\n4:memory\n\n");
  EXPECT_EQ(available(), kMachine);
}

TEST(MemoryShare, TheNodeWithTheLeastForEachOfItsRanksCounts) {
  testing::run_ranks(3, [](Communicator& communicator) {
    // Rank 1 is alone on a small node; ranks 0 and 2 share a large one.
    const int rank = communicator.rank();
    const MemoryShare least = smallest_share(communicator, rank == 1 ? memory_share(700, 1, rank) : memory_share(2000, 2, rank));
    EXPECT_EQ(least.size_bytes, 700);
    EXPECT_EQ(least.ranks, 1);
    EXPECT_EQ(least.rank, 1);
  });
}

TEST(MemoryShare, ANodeThatSaysNothingSetsNoLimit) {
  testing::run_ranks(2, [](Communicator& communicator) {
    const bool speaks = communicator.rank() == 1;
    const auto own = memory_share(speaks ? std::optional<std::int64_t>(500) : std::nullopt, 1, communicator.rank());
    EXPECT_EQ(smallest_share(communicator, own).size_bytes, 500);
  });
}

}  // namespace
}  // namespace minim::command

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <mutex>

#include "launcher/files.h"
#include "launcher/rank_threads.h"
#include "launcher/tiny_run.h"
#include "minim/launcher/checkpoint.h"
#include "scratch_directory.h"

namespace minim {
namespace {

namespace fs = std::filesystem;
using testing::run_ranks;
using testing::ScratchDirectory;
using testing::TinyRun;

/// A run of two ranks with checkpoints at steps 1 and 2.
class DamagedCheckpoint : public ::testing::Test {
 protected:
  void SetUp() override {
    run_ranks(2, [&](Communicator& communicator) {
      TinyRun tiny(communicator);
      for (int i = 0; i < 2; ++i) {
        tiny.train(1);
        CheckpointStore(run()).save(tiny.trainer(), tiny.extra());
      }
    });
  }

  const fs::path& run() const { return scratch_.path(); }
  fs::path checkpoint(int step) const { return run() / "checkpoints" / ("step-0000000" + std::to_string(step)); }
  std::vector<fs::path> files(int step) const {
    std::vector<fs::path> all;
    for (const auto& entry : fs::directory_iterator(checkpoint(step))) all.push_back(entry.path());
    return all;
  }

  struct Loaded {
    std::int64_t step = -1;  ///< -1: nothing was loaded
    std::vector<std::string> refused;
    std::string error;
    friend bool operator==(const Loaded&, const Loaded&) = default;
  };
  /// What a new run of `world_size` ranks gets; the same on every rank.
  Loaded load(int world_size = 2) const {
    std::vector<Loaded> loaded(static_cast<std::size_t>(world_size));
    run_ranks(world_size, [&](Communicator& communicator) {
      Loaded& mine = loaded[static_cast<std::size_t>(communicator.rank())];
      TinyRun tiny(communicator);
      try {
        if (CheckpointStore(run()).load_newest(tiny.trainer(), mine.refused)) mine.step = tiny.trainer().attempted();
      } catch (const DataError& error) {
        mine.error = error.what();
      }
    });
    for (const Loaded& other : loaded) EXPECT_EQ(other, loaded.front());
    return loaded.front();
  }

  /// Takes the run up again, trains one step and saves.
  void resume_and_save() const {
    run_ranks(2, [&](Communicator& communicator) {
      TinyRun tiny(communicator);
      std::vector<std::string> refused;
      CheckpointStore store(run());
      store.load_newest(tiny.trainer(), refused);
      EXPECT_EQ(tiny.trainer().attempted(), 1);
      tiny.train(1);
      store.save(tiny.trainer(), tiny.extra());
    });
  }

  /// In a process of its own, since the limit on the size of files holds for all of it: files end where rank 0's shard does, so
  /// that only rank 1, which has the larger part of every odd parameter, runs out of space.
  [[noreturn]] void save_with_little_space() const;

  ScratchDirectory scratch_;
};

std::string damage_of(const fs::path& checkpoint) {
  try {
    read_checkpoint_info(checkpoint);
  } catch (const DataError& error) {
    return error.what();
  }
  return "sound";
}

TEST_F(DamagedCheckpoint, AnyByteChangedIsFoundByFileName) {
  for (const fs::path& file : files(2)) {
    const std::string whole = testing::read_file(file);
    for (std::size_t i = 0; i < whole.size(); ++i) {
      std::string changed = whole;
      changed[i] = static_cast<char>(changed[i] ^ (i % 2 == 0 ? 0x01 : 0x80));
      testing::write_file(file, changed);
      ASSERT_NE(damage_of(checkpoint(2)).find(file.string()), std::string::npos) << "byte " << i << " of " << file;
    }
    testing::write_file(file, whole);
  }
  EXPECT_EQ(damage_of(checkpoint(2)), "sound");
}

TEST_F(DamagedCheckpoint, AnyCutIsFoundByFileName) {
  constexpr std::size_t kStride = 7;
  for (const fs::path& file : files(2)) {
    const std::string whole = testing::read_file(file);
    for (std::size_t size = 0; size < whole.size(); size += kStride) {
      testing::write_file(file, whole.substr(0, size));
      ASSERT_NE(damage_of(checkpoint(2)).find(file.string()), std::string::npos) << size << " bytes of " << file;
    }
    testing::write_file(file, whole + "x");
    EXPECT_NE(damage_of(checkpoint(2)).find(file.string()), std::string::npos) << "a byte more in " << file;
    testing::write_file(file, whole);
  }
}

TEST_F(DamagedCheckpoint, TheOneBeforeIsLoadedInstead) {
  EXPECT_EQ(load().step, 2);
  for (const fs::path& file : files(2)) {
    const std::string whole = testing::read_file(file);
    const auto expect_refused = [&](const char* what, int world_size) {
      const Loaded loaded = load(world_size);
      EXPECT_EQ(loaded.step, 1) << what << ' ' << file;
      ASSERT_EQ(loaded.refused.size(), 1U) << what << ' ' << file;
      EXPECT_NE(loaded.refused[0].find(file.string()), std::string::npos) << loaded.refused[0];
    };
    testing::flip_byte(file, whole.size() / 2);
    expect_refused("changed", 2);
    expect_refused("changed", 3);
    testing::write_file(file, whole.substr(0, whole.size() / 2));
    expect_refused("cut", 2);
    fs::remove(file);
    expect_refused("missing", 1);
    testing::write_file(file, whole);
  }
  EXPECT_EQ(load(), (Loaded{2, {}, {}}));
}

TEST_F(DamagedCheckpoint, WhereNoneIsSoundTheErrorSaysSo) {
  for (const int step : {1, 2}) testing::flip_byte(checkpoint(step) / "shard-001-of-002.safetensors", 50);
  const Loaded loaded = load();
  EXPECT_EQ(loaded.step, -1);
  EXPECT_EQ(loaded.refused.size(), 2U);
  EXPECT_NE(loaded.error.find("none of 2 checkpoints can be used"), std::string::npos) << loaded.error;
  EXPECT_NE(loaded.error.find((checkpoint(2) / "shard-001-of-002.safetensors").string()), std::string::npos) << loaded.error;
}

TEST_F(DamagedCheckpoint, OneThatASaveDidNotFinishIsNeitherLoadedNorListedAndGoesWithTheNextSave) {
  const fs::path torn = run() / "checkpoints" / ".step-00000003.partial";
  fs::create_directory(torn);
  fs::copy_file(checkpoint(2) / "shard-000-of-002.safetensors", torn / "shard-000-of-002.safetensors");
  EXPECT_EQ(load(), (Loaded{2, {}, {}}));
  EXPECT_EQ(list_checkpoints(run()), (std::vector<fs::path>{checkpoint(1), checkpoint(2)}));
  run_ranks(2, [&](Communicator& communicator) {
    TinyRun tiny(communicator);
    std::vector<std::string> refused;
    CheckpointStore(run()).load_newest(tiny.trainer(), refused);
    CheckpointStore(run()).save(tiny.trainer(), tiny.extra());
  });
  EXPECT_FALSE(fs::exists(torn));
}

TEST_F(DamagedCheckpoint, ASaveFurtherBackReplacesADamagedOneAtItsStep) {
  testing::flip_byte(checkpoint(2) / "manifest.json", 100);
  resume_and_save();
  EXPECT_EQ(load(), (Loaded{2, {}, {}}));
  EXPECT_EQ(damage_of(checkpoint(1)), "sound");
}

TEST_F(DamagedCheckpoint, ThatIsLaterThanASaveDoesNotCountAmongThoseThatAreKept) {
  testing::flip_byte(checkpoint(2) / "manifest.json", 100);
  fs::rename(checkpoint(2), checkpoint(9));
  resume_and_save();
  const Loaded loaded = load();
  EXPECT_EQ(loaded.step, 2);
  EXPECT_EQ(loaded.refused.size(), 1U);
  EXPECT_EQ(damage_of(checkpoint(1)), "sound");
}

/// What the ranks get when they save; the same on all ranks.
std::string failure_of_save(const fs::path& directory, int world_size) {
  std::vector<std::string> texts(static_cast<std::size_t>(world_size), "saved");
  run_ranks(world_size, [&](Communicator& communicator) {
    TinyRun tiny(communicator);
    tiny.train(3);
    try {
      CheckpointStore(directory).save(tiny.trainer(), tiny.extra());
    } catch (const DataError& error) {
      texts[static_cast<std::size_t>(communicator.rank())] = error.what();
    }
  });
  for (const auto& text : texts) EXPECT_EQ(text, texts.front());
  return texts.front();
}

TEST(FailedSave, WithoutADirectoryToWriteIntoIsAnErrorOnAllRanks) {
  const ScratchDirectory scratch;
  const fs::path file = scratch.path() / "checkpoints";
  testing::write_file(file, "not a directory");
  const std::string text = failure_of_save(scratch.path(), 2);
  EXPECT_NE(text.find("rank 0: cannot create directory " + file.string()), std::string::npos) << text;
}

void DamagedCheckpoint::save_with_little_space() const {
  const auto shard_bytes = [this](const char* rank) {
    return fs::file_size(checkpoint(2) / ("shard-00" + std::string(rank) + "-of-002.safetensors"));
  };
  EXPECT_LT(shard_bytes("0"), shard_bytes("1"));
  struct rlimit limit {};
  getrlimit(RLIMIT_FSIZE, &limit);
  limit.rlim_cur = shard_bytes("0");
  std::signal(SIGXFSZ, SIG_IGN);
  EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  const std::string text = failure_of_save(run(), 2);
  for (const char* part : {"rank 1: cannot write", "shard-001-of-002.safetensors", "File too large"}) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  }
  EXPECT_EQ(load(), (Loaded{2, {}, {}}));
  EXPECT_EQ(damage_of(checkpoint(1)), "sound");
  EXPECT_EQ(std::distance(fs::directory_iterator(run() / "checkpoints"), fs::directory_iterator()), 2)
      << "half a checkpoint is left";
  fs::remove_all(run());
  _exit(HasFailure() ? 1 : 0);
}

TEST_F(DamagedCheckpoint, ADiskThatIsFullOnOneRankFailsAllRanksAndLeavesTheOldOnesIntact) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(save_with_little_space(), ::testing::ExitedWithCode(0), "");
}

/// While it lives nobody in this process writes into the directory, root neither: root acts as an ordinary user meanwhile.
class ReadOnlyDirectory {
 public:
  explicit ReadOnlyDirectory(fs::path path) : path_(std::move(path)), is_root_(geteuid() == 0) {
    constexpr auto kOthersRead = static_cast<fs::perms>(0555);
    fs::permissions(path_.parent_path(), kOthersRead, fs::perm_options::add);
    fs::permissions(path_, kOthersRead);
    constexpr uid_t kNobody = 65534;
    EXPECT_EQ(is_root_ ? seteuid(kNobody) : 0, 0);
  }
  ~ReadOnlyDirectory() {
    EXPECT_EQ(is_root_ ? seteuid(0) : 0, 0);
    fs::permissions(path_, fs::perms::owner_write, fs::perm_options::add);
  }
  ReadOnlyDirectory(const ReadOnlyDirectory&) = delete;
  ReadOnlyDirectory& operator=(const ReadOnlyDirectory&) = delete;

 private:
  fs::path path_;
  bool is_root_;
};

TEST_F(DamagedCheckpoint, ADirectoryThatIsReadOnlyFailsAllRanksByItsNameAndLeavesTheOldOnesIntact) {
  const fs::path directory = run() / "checkpoints";
  {
    const ReadOnlyDirectory read_only(directory);
    const std::string text = failure_of_save(run(), 2);
    for (const std::string& part : {"rank 0: cannot create directory " + directory.string(), std::string("Permission denied")}) {
      EXPECT_NE(text.find(part), std::string::npos) << text;
    }
    EXPECT_EQ(load(), (Loaded{2, {}, {}}));
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(directory), fs::directory_iterator()), 2) << "half a checkpoint is left";
}

}  // namespace
}  // namespace minim

#include <gtest/gtest.h>

#include "fuzz/targets.h"
#include "model/data/idx_files.h"

namespace minim {
namespace {

namespace fs = std::filesystem;
using testing::Bytes;

class Replay : public ::testing::TestWithParam<testing::FuzzTarget> {};
INSTANTIATE_TEST_SUITE_P(Corpus, Replay, ::testing::ValuesIn(testing::fuzz_targets()),
                         [](const auto& target) { return target.param.name; });

/// Cuts and changes of a file in the corpus that are tried.
constexpr std::size_t kVariants = 24;

TEST_P(Replay, NoFileOfTheCorpusNorADamagedOneIsTooMuchForItsReader) {
  std::size_t files = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(MINIM_FUZZ_CORPUS) / GetParam().name)) {
    ++files;
    const Bytes whole = testing::read_raw(entry.path());
    EXPECT_NO_THROW(GetParam().read(whole)) << entry.path();
    for (std::size_t i = 0; i < kVariants; ++i) {
      const std::size_t at = i * whole.size() / kVariants;
      EXPECT_NO_THROW(GetParam().read(std::span(whole).first(at))) << entry.path() << " cut at " << at;
      Bytes changed = whole;
      if (!changed.empty()) changed[at] ^= static_cast<std::uint8_t>(1U << (i % 8));
      EXPECT_NO_THROW(GetParam().read(changed)) << entry.path() << " changed at " << at;
    }
  }
  EXPECT_GT(files, 0);
}

}  // namespace
}  // namespace minim

#include "minim/runtime/philox.h"

#include <gtest/gtest.h>

namespace minim {
namespace {

using Words = std::array<std::uint32_t, 4>;

// The vectors that Salmon et al. publish with Random123 for Philox4x32-10.
static_assert(philox({0, 0, 0, 0}, {0, 0}) == Words{0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8});

TEST(Philox, GivesThePublishedAnswers) {
  constexpr std::uint32_t kOnes = 0xFFFFFFFF;
  EXPECT_EQ(philox({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}), (Words{0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD}));
  EXPECT_EQ(philox({0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344}, {0xA4093822, 0x299F31D0}),
            (Words{0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1}));
}

TEST(Philox, MakesUniformNumbersBelowOne) {
  EXPECT_EQ(uniform(0), 0.0F);
  EXPECT_EQ(uniform(0x80000000U), 0.5F);
  EXPECT_EQ(uniform(0xFFFFFFFFU), 1.0F - 0x1p-24F);
  EXPECT_EQ(uniform(0x1FFU), 0x1p-24F) << "the low 8 bits do not count";
}

}  // namespace
}  // namespace minim

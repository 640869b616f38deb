#include "command/trace_table.h"

#include <gtest/gtest.h>

namespace minim::command {
namespace {

TraceEvent kernel(const char* category, const char* type, std::int64_t begin, std::int64_t end) {
  return {.name = type, .category = category, .type = type, .kernel = "Kernel", .begin = begin, .end = end};
}

TraceEvent other(const char* category, std::int64_t begin, std::int64_t end) {
  return {.name = category, .category = category, .type = {}, .kernel = {}, .begin = begin, .end = end};
}

/// A step of 100 units, 70 of them in kernels.
const TraceRows kRows = {
    {"compute",
     {kernel("forward", "conv2d", 1000, 1030), other("copy", 1030, 1032), kernel("backward", "conv2d", 1035, 1065),
      other("wait", 1066, 1086), kernel("update", "update", 1090, 1100)}},
    {"communication", {other("communication", 1020, 1040), other("communication", 1060, 1080)}},
};

TEST(TraceTable, TimeIsInKernelsCopiesWaitsOrBetweenThem) {
  const TraceShares shares = shares_of(kRows);
  EXPECT_EQ(shares.step, 100);
  EXPECT_EQ(shares.kernels, 70);
  EXPECT_EQ(shares.copies, 2);
  EXPECT_EQ(shares.waits, 20);
}

TEST(TraceTable, CommunicationIsHiddenWhereKernelsRun) {
  const TraceShares shares = shares_of(kRows);
  EXPECT_EQ(shares.communication, 40);
  EXPECT_EQ(shares.hidden, 10 + 5 + 5);
}

TEST(TraceTable, KernelsAreAddedUpByType) {
  const std::string table = trace_table(kRows);
  EXPECT_NE(table.find("60.0 %"), std::string::npos) << table;  // conv2d, forward and backward
  EXPECT_NE(table.find("10.0 %"), std::string::npos) << table;
  EXPECT_LT(table.find("conv2d"), table.find("update", table.find("---"))) << table;
}

TEST(TraceTable, NothingIsNeededOfAnyRow) { EXPECT_EQ(shares_of({}).step, 0); }

}  // namespace
}  // namespace minim::command

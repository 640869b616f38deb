#include "command/toml.h"

#include <gtest/gtest.h>

#include "minim/runtime/error.h"

namespace minim::command {
namespace {

std::string error_of(std::string_view text) {
  try {
    parse_toml(text, "run.toml");
  } catch (const DataError& error) {
    return error.what();
  }
  return {};
}

TEST(Toml, ReadsStringsNumbersBooleansAndArrays) {
  const auto entries = parse_toml(
      "# of a run\nmodel = \"lenet\"  # small\nlr=1e-3\nshard = false\n\nmilestones = [0.5, 0.75]\nsteps = 1_000\n", "f");
  ASSERT_EQ(entries.size(), 5U);
  EXPECT_EQ(entries[0].value, "lenet");
  EXPECT_EQ(entries[1].value, "1e-3");
  EXPECT_EQ(entries[2].value, "false");
  EXPECT_EQ(entries[3].value, "0.5,0.75");
  EXPECT_EQ(entries[4].value, "1000");
  EXPECT_EQ(entries[3].line, 6);
}

TEST(Toml, StringsKeepWhatTheySay) {
  const std::string difficult = "a # b \"c\" \\ d\t= 'e', [f]\n";
  const auto entries = parse_toml("data = " + toml_string(difficult) + "\noutput = '\\no escapes#'", "f");
  ASSERT_EQ(entries.size(), 2U);
  EXPECT_EQ(entries[0].value, difficult);
  EXPECT_EQ(entries[1].value, "\\no escapes#");
}

TEST(Toml, ErrorsNameFileAndLine) {
  EXPECT_EQ(error_of("a = 1\nb = \"open"), "run.toml:2: the string has no closing quote");
  EXPECT_EQ(error_of("model = lenet"), "run.toml:1: lenet is neither a number nor true or false; strings are written in quotes");
  EXPECT_EQ(error_of("[train]\n"), "run.toml:1: a table; options are plain `key = value` lines");
  EXPECT_EQ(error_of("lr 0.1"), "run.toml:1: '=' was expected after \"lr\"");
  EXPECT_EQ(error_of("lr = 1 2"), "run.toml:1: \"2\" after the value");
  EXPECT_EQ(error_of("lr ="), "run.toml:1: a value was expected");
  EXPECT_EQ(error_of("lr = 1\nlr = 2"), "run.toml:2: \"lr\" is set twice");
}

TEST(Toml, AMissingFileIsNamed) {
  try {
    read_toml("/nonexistent/run.toml");
    FAIL();
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("/nonexistent/run.toml"), std::string::npos);
  }
}

}  // namespace
}  // namespace minim::command

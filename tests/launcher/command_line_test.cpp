#include "command/command_line.h"

#include <gtest/gtest.h>

#include <fstream>

#include "command/run_options.h"
#include "minim/runtime/error.h"
#include "scratch_directory.h"

namespace minim::command {
namespace {

NothingToRun refusal_of(const std::vector<std::string>& arguments) {
  try {
    parse_command_line(arguments);
  } catch (const NothingToRun& reason) {
    return reason;
  }
  return {"accepted", false};
}

TEST(CommandLine, OptionsReachTheConfiguration) {
  const Request request =
      parse_command_line({"train", "--model", "resnet-18", "--batch=32", "--shard", "off", "--lr", "0.25", "--resume"});
  EXPECT_EQ(request.action, Action::train);
  EXPECT_EQ(request.config.model, "resnet-18");
  EXPECT_EQ(request.config.batch, 32);
  EXPECT_FALSE(request.config.shard);
  EXPECT_EQ(request.config.lr, 0.25);
  EXPECT_TRUE(request.resume);
}

TEST(CommandLine, RefusalsAreOneLineThatNamesTheOption) {
  for (const auto& [arguments, culprit] :
       std::vector<std::pair<std::vector<std::string>, std::string>>{{{"train", "--batchsize", "3"}, "--batchsize"},
                                                                     {{"train", "--batch", "many"}, "--batch"},
                                                                     {{"train", "--precision", "fp8"}, "fp8"},
                                                                     {{"plan", "--ranks", "0"}, "--ranks"},
                                                                     {{"tarin"}, "tarin"},
                                                                     {{"export", "run"}, "file"}}) {
    const NothingToRun refusal = refusal_of(arguments);
    const std::string text = refusal.what();
    EXPECT_TRUE(refusal.is_error) << text;
    EXPECT_NE(text.find(culprit), std::string::npos) << text;
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
  }
}

TEST(CommandLine, TextThatIsNotUtf8IsRefusedByTheNameOfItsOption) {
  for (const std::string option : {"--data", "--output", "--config"}) {
    const NothingToRun refusal = refusal_of({"train", option, "d\xe4ta"});
    EXPECT_TRUE(refusal.is_error);
    EXPECT_NE(std::string(refusal.what()).find(option + ": \"d\xef\xbf\xbdta\" is not UTF-8"), std::string::npos)
        << refusal.what();
  }
  EXPECT_STREQ(refusal_of({"train", "--data", "d\xc3\xa4ta"}).what(), "accepted");
}

TEST(CommandLine, HelpListsEveryOptionThatIsNotHidden) {
  const NothingToRun help = refusal_of({"train", "--help"});
  EXPECT_FALSE(help.is_error);
  const std::string text = help.what();
  RunConfig config;
  visit_options(config, [&](const OptionInfo& info, const auto&) {
    const bool hidden = *info.group == '\0';
    EXPECT_EQ(text.find(std::string("--") + info.name + " ") == std::string::npos, hidden) << info.name;
  });
  EXPECT_NE(text.find("Exit codes"), std::string::npos);
}

class ConfigurationFile : public ::testing::Test {
 protected:
  std::string write(const std::string& text) {
    const auto file = (scratch_.path() / "run.toml").string();
    std::ofstream(file) << text;
    return file;
  }
  testing::ScratchDirectory scratch_;
};

TEST_F(ConfigurationFile, IsOverriddenByTheCommandLine) {
  const std::string file = write("batch = 16\nlr = 0.5\nmodel = \"resnet-50\"\n");
  for (const auto& arguments : {std::vector<std::string>{"train", "--config", file, "--lr", "0.125"},
                                std::vector<std::string>{"train", "--lr", "0.125", "--config", file}}) {
    const Request request = parse_command_line(arguments);
    EXPECT_EQ(request.config.batch, 16);
    EXPECT_EQ(request.config.lr, 0.125);
    EXPECT_EQ(request.config.model, "resnet-50");
  }
}

TEST_F(ConfigurationFile, UnknownKeysAndBadValuesAreNamedWithFileAndLine) {
  for (const auto& [text, expected] :
       std::vector<std::pair<std::string, std::string>>{{"batch = 16\nbatchsize = 3\n", ":2: unknown option \"batchsize\""},
                                                        {"batch = \"many\"\n", ":1: "},
                                                        {"precision = \"fp8\"\n", "\"fp8\" is not one of"},
                                                        {"resume = true\n", ":1: unknown option \"resume\""}}) {
    const std::string file = write(text);
    try {
      parse_command_line({"train", "--config", file});
      ADD_FAILURE() << text;
    } catch (const DataError& error) {
      EXPECT_NE(std::string(error.what()).find(expected), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find(file), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace minim::command

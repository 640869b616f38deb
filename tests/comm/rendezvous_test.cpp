#include "rendezvous.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <thread>

#include "minim/runtime/error.h"
#include "scratch_directory.h"

namespace minim::detail {
namespace {

using testing::ScratchDirectory;

std::string rendezvous_in(const ScratchDirectory& folder) { return (folder.path() / "ranks").string(); }

constexpr std::chrono::milliseconds kPatient{30000};
constexpr std::chrono::milliseconds kImpatient{400};

/// What comes of the ranks' meeting: empty, or the text of the error.
std::string outcome(const TcpOptions& options) {
  try {
    const Meeting meeting = meet(options);
    for (int rank = 0; rank < options.size; ++rank) {
      EXPECT_EQ(static_cast<bool>(meeting.peers[static_cast<std::size_t>(rank)]), rank != options.rank);
    }
    return {};
  } catch (const CommError& error) {
    return error.what();
  }
}

std::vector<std::string> outcomes(const std::vector<TcpOptions>& ranks) {
  std::vector<std::string> texts(ranks.size());
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < ranks.size(); ++i) threads.emplace_back([&, i] { texts[i] = outcome(ranks[i]); });
  for (std::thread& thread : threads) thread.join();
  return texts;
}

std::vector<TcpOptions> ranks_of(int size, const std::string& rendezvous, std::chrono::milliseconds deadline) {
  std::vector<TcpOptions> ranks;
  for (int r = 0; r < size; ++r) ranks.push_back({.rank = r, .size = size, .rendezvous = rendezvous, .deadline = deadline});
  return ranks;
}

/// A socket on a port of this machine that the system has picked; nobody listens as long as nobody says so.
class Port {
 public:
  Port() : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof address;
    if (::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), length) != 0 ||
        ::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&address), &length) != 0) {
      ADD_FAILURE() << "no port can be had";
    }
    number_ = ntohs(address.sin_port);
  }
  std::string rendezvous() const { return "127.0.0.1:" + std::to_string(number_); }
  void release() { socket_.reset(); }
  void listen() const { ::listen(socket_.get(), 1); }

 private:
  Descriptor socket_;
  int number_ = 0;
};

TEST(Rendezvous, RanksMeetThroughAFileInWhichRank0PublishesItsPort) {
  const ScratchDirectory folder;
  for (const std::string& text : outcomes(ranks_of(5, rendezvous_in(folder), kPatient))) EXPECT_EQ(text, "");
  EXPECT_FALSE(std::filesystem::exists(rendezvous_in(folder))) << "it would mislead the next group";
}

TEST(Rendezvous, RanksMeetAtAnAddress) {
  Port port;
  port.release();
  for (const std::string& text : outcomes(ranks_of(3, port.rendezvous(), kPatient))) EXPECT_EQ(text, "");
}

TEST(Rendezvous, RanksOfOneMachineKnowIt) {
  const ScratchDirectory folder;
  const auto ranks = ranks_of(2, rendezvous_in(folder), kPatient);
  std::thread other([&] { meet(ranks[1]); });
  const Meeting meeting = meet(ranks[0]);
  other.join();
  EXPECT_EQ(meeting.machines[0], meeting.machines[1]);
  EXPECT_NE(meeting.machines[0], 0U);
}

TEST(Rendezvous, AnAddressLeftByAnotherGroupIsReadAgain) {
  const ScratchDirectory folder;
  const Port old;
  std::ofstream(rendezvous_in(folder)) << old.rendezvous() << std::endl;
  auto ranks = ranks_of(2, rendezvous_in(folder), kPatient);
  std::string text;
  std::thread early([&] { text = outcome(ranks[1]); });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // so that it is likely to have read the old address
  EXPECT_EQ(outcome(ranks[0]), "");
  early.join();
  EXPECT_EQ(text, "");
}

TEST(Rendezvous, EveryRankThatHasComeNamesThoseThatHaveNot) {
  const ScratchDirectory folder;
  auto ranks = ranks_of(5, rendezvous_in(folder), kImpatient);
  ranks.erase(ranks.begin() + 3);
  ranks.erase(ranks.begin() + 1);
  for (const std::string& text : outcomes(ranks)) {
    EXPECT_EQ(text, "rendezvous at " + rendezvous_in(folder) + ": ranks 1, 3 missing after 0.4 s");
  }
}

TEST(Rendezvous, AMissingRank0IsNamedWithTheReason) {
  Port port;
  const std::string text = outcome({.rank = 1, .size = 2, .rendezvous = port.rendezvous(), .deadline = kImpatient});
  EXPECT_EQ(text, "rendezvous at " + port.rendezvous() + ": rank 0 missing after 0.4 s (" + port.rendezvous() +
                      ": Connection refused)");
}

TEST(Rendezvous, ARank0ThatListensAndSaysNothingIsNamed) {
  const Port port;
  port.listen();
  const std::string text = outcome({.rank = 1, .size = 2, .rendezvous = port.rendezvous(), .deadline = kImpatient});
  EXPECT_EQ(text, "rendezvous at " + port.rendezvous() + ": rank 0 missing after 0.4 s");
}

TEST(Rendezvous, RanksOfGroupsOfDifferentSizesAreRefused) {
  const ScratchDirectory folder;
  auto ranks = ranks_of(2, rendezvous_in(folder), kPatient);
  ranks[1].size = 3;
  for (const std::string& text : outcomes(ranks)) EXPECT_EQ(text, "rank 1 belongs to a group of 3, rank 0 to one of 2");
}

TEST(Rendezvous, ASecondProcessOfTheSameRankIsRefused) {
  const ScratchDirectory folder;
  auto ranks = ranks_of(3, rendezvous_in(folder), kPatient);
  ranks[2].rank = 1;
  for (const std::string& text : outcomes(ranks)) EXPECT_EQ(text, "a second process came as rank 1");
}

TEST(Rendezvous, StrangersKeepNobodyWaiting) {
  Port port;
  port.release();
  const auto ranks = ranks_of(2, port.rendezvous(), kPatient);
  std::string first;
  std::thread rank_0([&] { first = outcome(ranks[0]); });
  const auto connect = [&] {
    Descriptor stranger(::socket(AF_INET, SOCK_STREAM, 0));
    sockaddr_in address{.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    address.sin_port = htons(static_cast<std::uint16_t>(std::stoi(ranks[0].rendezvous.substr(10))));
    while (::connect(stranger.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) std::this_thread::yield();
    return stranger;
  };
  const Descriptor silent = connect();
  const Descriptor talkative = connect();
  const std::string request(200, 'x');
  EXPECT_EQ(::send(talkative.get(), request.data(), request.size(), MSG_NOSIGNAL), 200);
  EXPECT_EQ(outcome(ranks[1]), "");
  rank_0.join();
  EXPECT_EQ(first, "");
}

TEST(Rendezvous, RefusesWhatIsNoAddress) {
  for (const char* rendezvous : {"", "here", ":80", "here:"}) {
    EXPECT_THROW(meet({.rank = 0, .size = 2, .rendezvous = rendezvous, .deadline = kImpatient}), InvalidArgument);
  }
  EXPECT_THROW(meet({.rank = 2, .size = 2, .rendezvous = "localhost:1", .deadline = kImpatient}), InvalidArgument);
}

/// Environment variables for as long as this lives.
class Environment {
 public:
  using Variables = std::map<std::string, std::string>;
  explicit Environment(Variables variables) : variables_(std::move(variables)) {
    for (const auto& [name, value] : variables_) ::setenv(name.c_str(), value.c_str(), 1);
  }
  ~Environment() {
    for (const auto& [name, value] : variables_) ::unsetenv(name.c_str());
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  Variables variables_;
};

TEST(TcpOptions, AreThoseOfTheEnvironment) {
  EXPECT_FALSE(tcp_options_of_environment());
  const Environment environment(Environment::Variables{{"MINIM_RENDEZVOUS", "node7:4000"},
                                                       {"MINIM_RANK", "2"},
                                                       {"MINIM_WORLD_SIZE", "3"},
                                                       {"SLURM_PROCID", "0"},
                                                       {"SLURM_NTASKS", "9"}});
  const auto options = tcp_options_of_environment();
  ASSERT_TRUE(options);
  EXPECT_EQ(options->rank, 2);
  EXPECT_EQ(options->size, 3);
  EXPECT_EQ(options->rendezvous, "node7:4000");
}

TEST(TcpOptions, TakeSlurmsRanksWhereThereAreNoOthers) {
  const Environment environment(
      Environment::Variables{{"MINIM_RENDEZVOUS", "node7:4000"}, {"SLURM_PROCID", "1"}, {"SLURM_NTASKS", "4"}});
  const auto options = tcp_options_of_environment();
  ASSERT_TRUE(options);
  EXPECT_EQ(options->rank, 1);
  EXPECT_EQ(options->size, 4);
}

TEST(TcpOptions, WantARankAndASizeThatFit) {
  const Environment environment(Environment::Variables{{"MINIM_RENDEZVOUS", "node7:4000"}, {"MINIM_RANK", "2"}});
  EXPECT_THROW(tcp_options_of_environment(), InvalidArgument);
  for (const char* size : {"2", "many", ""}) {
    const Environment with(Environment::Variables{{"MINIM_WORLD_SIZE", size}});
    EXPECT_THROW(tcp_options_of_environment(), InvalidArgument) << size;
  }
}

}  // namespace
}  // namespace minim::detail

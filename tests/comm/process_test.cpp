#include "process.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

namespace minim::detail {
namespace {

/// A child that tells who it is and then does nothing until it is killed.
class Child {
 public:
  Child() {
    int ends[2] = {};
    if (::pipe(ends) != 0) return;
    pid_ = ::fork();
    if (pid_ == 0) {
      const ProcessId self = ProcessId::self();
      [[maybe_unused]] const auto written = ::write(ends[1], &self, sizeof self);
      for (;;) ::pause();
    }
    if (::read(ends[0], &id_, sizeof id_) != sizeof id_) id_ = {};
    ::close(ends[0]);
    ::close(ends[1]);
  }
  ~Child() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  const ProcessId& id() const { return id_; }
  void stop() const {
    ::kill(pid_, SIGSTOP);
    ::waitpid(pid_, nullptr, WUNTRACED);
  }
  void kill_and_leave_as_zombie() const {
    ::kill(pid_, SIGKILL);
    siginfo_t info = {};
    ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT);
  }
  void bury() {
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }

 private:
  pid_t pid_ = 0;
  ProcessId id_;
};

TEST(ProcessId, ARunningOrStoppedProcessHasNotEnded) {
  const Child child;
  ASSERT_TRUE(ProcessId::self().sees(child.id()));
  EXPECT_FALSE(has_ended(child.id()));
  child.stop();
  EXPECT_FALSE(has_ended(child.id()));
}

TEST(ProcessId, AKilledProcessHasEndedEvenAsAZombie) {
  Child child;
  child.kill_and_leave_as_zombie();
  EXPECT_TRUE(has_ended(child.id()));
  child.bury();
  EXPECT_TRUE(has_ended(child.id()));
}

TEST(ProcessId, AProcessThatStartedAtAnotherTimeIsAnotherProcess) {
  const Child child;
  ProcessId predecessor = child.id();
  --predecessor.start_time;
  EXPECT_TRUE(has_ended(predecessor));
}

TEST(ProcessId, NumbersOfAnotherNamespaceSayNothing) {
  const ProcessId self = ProcessId::self();
  ProcessId elsewhere = self;
  ++elsewhere.pid_namespace;
  EXPECT_FALSE(self.sees(elsewhere));
  EXPECT_FALSE(self.sees(ProcessId{}));
}

}  // namespace
}  // namespace minim::detail

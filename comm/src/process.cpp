#include "process.h"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>

namespace minim::detail {
namespace {

struct Status {
  bool found = false;
  char state = '?';
  std::uint64_t start_time = 0;
};

/// Fields 3 and 22 of /proc/PID/stat (proc(5)).
Status read_status(std::int64_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  if (!std::getline(file, line)) return {};
  const auto name_end = line.rfind(')');  // the name in field 2 may itself hold blanks and parentheses
  if (name_end == std::string::npos) return {};
  std::istringstream fields(line.substr(name_end + 1));
  Status status;
  fields >> status.state;
  std::string skipped;
  for (int field = 4; field < 22; ++field) fields >> skipped;
  status.found = static_cast<bool>(fields >> status.start_time);
  return status;
}

}  // namespace

ProcessId ProcessId::self() {
  struct stat namespace_file = {};
  const Status status = read_status(::getpid());
  if (!status.found || ::stat("/proc/self/ns/pid", &namespace_file) != 0) return {};
  return {.pid = ::getpid(), .start_time = status.start_time, .pid_namespace = namespace_file.st_ino};
}

bool has_ended(const ProcessId& process) {
  const Status status = read_status(process.pid);
  return !status.found || status.start_time != process.start_time || status.state == 'Z' || status.state == 'X';
}

}  // namespace minim::detail

#include "cudart/refuse.h"

#include <cxxabi.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>

#include "double.h"

namespace cudart {
namespace {

thread_local const char* t_running = nullptr;

/// A kernel's name as its source has it; other names as they are.
std::string readable(const char* name) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> demangled(abi::__cxa_demangle(name, nullptr, nullptr, &status), std::free);
  return status == 0 ? demangled.get() : name;
}

}  // namespace

void refuse(const std::string& message) {
  std::fflush(nullptr);
  std::string line = "double: " + message;
  if (t_running != nullptr) line += ", in " + readable(t_running);
  line += '\n';
  if (write(STDERR_FILENO, line.data(), line.size()) < 0) _exit(kRefused + 1);
  _exit(kRefused);
}

void set_running(const char* operation) { t_running = operation; }
const char* running() { return t_running; }

std::string text(const void* pointer) {
  char digits[32];
  std::snprintf(digits, sizeof digits, "%p", pointer);
  return digits;
}

}  // namespace cudart

void double_refuse(const char* message) { cudart::refuse(message); }

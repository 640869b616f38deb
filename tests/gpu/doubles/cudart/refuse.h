#pragma once

#include <string>

namespace cudart {

/// Exit code of a program that the double has ended.
inline constexpr int kRefused = 86;

/// Ends the program: it does what no GPU allows, or what minim's rules do not. `message` is one sentence without a full stop.
[[noreturn]] void refuse(const std::string& message);

/// What the calling thread is running, for messages about faults; null where it is the program's own code.
void set_running(const char* operation);
const char* running();

/// An address as messages show it.
std::string text(const void* pointer);

}  // namespace cudart

#include "cudart/fault_handler.h"

#include <csignal>
#include <cstddef>

#include "cudart/device_memory.h"
#include "cudart/host_memory.h"
#include "cudart/refuse.h"

namespace cudart {
namespace {

struct sigaction g_previous[2];  // of SIGSEGV, of SIGBUS

void on_fault(int signal, siginfo_t* info, void* /*context*/) {
  const void* address = info->si_addr;
  const DeviceMemory& device = DeviceMemory::instance();
  if (device.contains(address)) refuse("the host touches device memory at " + device.describe(address));
  if (device.contains_alias(address)) {
    refuse("device memory is touched where there is none, at " + device.describe(device.original(address)));
  }
  if (HostMemory::instance().contains(address)) {
    refuse("page-locked memory is touched where there is none, or none any more, at " + text(address));
  }
  sigaction(signal, &g_previous[signal == SIGBUS], nullptr);  // the fault happens again, now there
}

}  // namespace

void handle_faults() {
  struct sigaction action = {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  sigaction(SIGSEGV, &action, &g_previous[0]);
  sigaction(SIGBUS, &action, &g_previous[1]);
}

}  // namespace cudart

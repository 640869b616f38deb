#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "minim/comm/communicator.h"
#include "minim/launcher/step_trace.h"

namespace minim::command {

/// The rows of a trace, those that have anything, with the times of their events.
struct NamedRow {
  std::string name;
  std::vector<TraceEvent> events;  ///< one after another
};
using TraceRows = std::vector<NamedRow>;

/// Of a step that is drained.
TraceRows read_trace(const StepTrace& trace);

/// The traces of all ranks in the Trace Event Format, which Perfetto and chrome://tracing show: a process per rank, a thread per
/// row. Ranks on the node of rank 0 have its clock; clocks of other nodes are compared at barriers, exact to about what a barrier
/// takes. Collective; the text is whole on rank 0.
std::string gather_trace(Communicator& communicator, const TraceRows& rows);

/// Throws DataError that names the file.
void write_trace(const std::filesystem::path& file, const std::string& text);

}  // namespace minim::command

#pragma once

#include "command/command_line.h"
#include "command/exit_code.h"
#include "command/mpi_session.h"

namespace minim::command {

/// Under MPI. Errors that all ranks have agreed on are thrown on all of them.
ExitCode train(const Request& request, MpiSession& mpi);
ExitCode evaluate(const Request& request, MpiSession& mpi);
ExitCode doctor(MpiSession& mpi);

/// In one process, without MPI.
ExitCode plan(const Request& request);
ExitCode export_weights(const Request& request);
ExitCode inspect(const Request& request);

/// The whole program. Returns the exit code, or ends the process where ranks are lost that MPI would wait for.
int run(const std::vector<std::string>& arguments);

}  // namespace minim::command

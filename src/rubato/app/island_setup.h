// A worker of several processes, from the program's side: who mpirun started beside this one, and
// what the ranks other than 0 make of what rank 0 tells them.
#pragma once

#include <memory>
#include <string>

#include "rubato/app/program.h"
#include "rubato/island/island_link.h"
#include "rubato/rpc/wire.h"

namespace rubato {

/// The link to the other ranks where OpenMPI's mpirun started this process beside others; nullptr
/// where it is alone. FailedPrecondition when this build has no MPI.
StatusOr<std::unique_ptr<IslandLink>> find_island(const Terminal& terminal);

/// What rank 0 tells the others: the run as the coordinator describes it, and where its data lies.
std::string island_introduction(const v1::RunDescription& run, const std::string& data);

/// A rank other than 0, until rank 0 lets it go; `threads` as on the command line. It prints
/// nothing: its errors are rank 0's to tell.
int serve_as_member(IslandLink& link, const Terminal& terminal, int threads);

}  // namespace rubato

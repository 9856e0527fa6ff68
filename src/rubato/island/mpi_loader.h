// Brings MPI into a process that mpirun started, and into no other. What uses MPI lives in a module
// of its own (mpi_module.cc), loaded on first use: so one program serves machines with and without
// OpenMPI, and a worker that is one process has none of it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "rubato/base/status.h"
#include "rubato/island/island_link.h"

namespace rubato {

/// Told what broke a link, once, before the link ends the processes of all ranks.
using TellFailure = std::function<void(std::string_view line)>;

/// The link between the ranks that mpirun started. One for a process; its end is the end of MPI, at
/// which all ranks meet, unless an exception unwinds it: then it ends them. FailedPrecondition when
/// the module is missing.
StatusOr<std::unique_ptr<IslandLink>> make_mpi_link(TellFailure tell);

/// From the module `file`: a path, or a name to be found where the program's run path says.
StatusOr<std::unique_ptr<IslandLink>> load_mpi_link(const std::string& file, TellFailure tell);

/// The one function that the module exports.
using MpiLinkFactory = IslandLink*(TellFailure&& tell);
inline constexpr const char* kMpiLinkFactoryName = "rubato_mpi_link";

}  // namespace rubato

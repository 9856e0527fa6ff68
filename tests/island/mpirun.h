// Processes under OpenMPI's mpirun, for tests.
#pragma once

#include <string>
#include <vector>

namespace rubato {

/// mpirun and its words for `ranks` processes on this machine, whatever user and cores it has.
std::vector<std::string> mpirun(int ranks);

}  // namespace rubato

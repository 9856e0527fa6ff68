#include "tests/island/mpirun.h"

namespace rubato {

std::vector<std::string> mpirun(int ranks) {
  return {"mpirun", "-n", std::to_string(ranks), "--allow-run-as-root", "--oversubscribe",
          "--bind-to", "none",
          // A container may forbid that one process reads another's memory, and has no network to
          // look for.
          "--mca", "btl_vader_single_copy_mechanism", "none", "--mca", "btl", "self,vader"};
}

}  // namespace rubato

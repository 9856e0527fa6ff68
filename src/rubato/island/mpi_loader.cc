#include "rubato/island/mpi_loader.h"

#include <utility>

#include <dlfcn.h>

#include "rubato/base/one_line.h"

namespace rubato {

StatusOr<std::unique_ptr<IslandLink>> make_mpi_link(TellFailure tell) {
  return load_mpi_link(RUBATO_MPI_MODULE, std::move(tell));
}

StatusOr<std::unique_ptr<IslandLink>> load_mpi_link(const std::string& file, TellFailure tell) {
  // OpenMPI's own plugins look for its names among those that are everybody's.
  void* module = dlopen(file.c_str(), RTLD_NOW | RTLD_GLOBAL);
  void* factory = module == nullptr ? nullptr : dlsym(module, kMpiLinkFactoryName);
  if (factory != nullptr) {
    return std::unique_ptr<IslandLink>(reinterpret_cast<MpiLinkFactory*>(factory)(std::move(tell)));
  }
  const char* reason = dlerror();
  return absl::FailedPreconditionError(
      cat("[island] got no module ", one_line(file), " (",
          one_line(reason == nullptr ? "no reason given" : reason),
          "), want it in ../lib/rubato, seen from the program's directory; it is built where "
          "libopenmpi-dev is installed"));
}

}  // namespace rubato

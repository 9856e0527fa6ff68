#include "rubato/app/island_setup.h"

#include <cstdlib>
#include <ostream>

#include "rubato/app/build.h"
#include "rubato/app/build_id.h"
#include "rubato/app/cluster_setup.h"
#include "rubato/app/command_support.h"
#include "rubato/base/archive.h"
#include "rubato/island/island.h"
#include "rubato/island/mpi_loader.h"
#include "rubato/store/posix_file_system.h"

namespace rubato {
namespace {

// How OpenMPI tells a process that it is one of several.
constexpr const char* kWorldSize = "OMPI_COMM_WORLD_SIZE";

struct Introduction {
  std::string build;
  std::string run;   // a v1::RunDescription, serialised
  std::string data;  // directory of the prepared text; "" where the run has none
  template <class A>
  void archive(A& a) {
    a(build, run, data);
  }
};

StatusOr<BuiltWorkload> build_member_workload(const std::string& text, int threads) {
  Introduction told;
  RUBATO_RETURN_IF_ERROR(from_archive(text, told));
  if (told.build != build_id()) {
    return absl::FailedPreconditionError(cat("[island] got a program of build ", build_id(),
                                             ", want ", told.build, " as at rank 0"));
  }
  v1::RunDescription run;
  if (!run.ParseFromString(told.run))
    return absl::DataLossError("[island] got a description of the run that cannot be read");
  RUBATO_ASSIGN_OR_RETURN(const Recipe recipe, recipe_of_description(run, told.data));
  RUBATO_RETURN_IF_ERROR(check_processor(recipe));
  RUBATO_ASSIGN_OR_RETURN(BuiltWorkload built, build_workload(recipe, threads));
  if (built.data_digest == run.data_digest()) return built;
  return absl::FailedPreconditionError(cat("[island] ", told.data, ": got data of digest ",
                                           built.data_digest, ", want ", run.data_digest(),
                                           " as at rank 0"));
}

}  // namespace

StatusOr<std::unique_ptr<IslandLink>> find_island(const Terminal& terminal) {
  const char* const size = std::getenv(kWorldSize);
  if (size == nullptr || std::string_view(size) == "1") return nullptr;
  return make_mpi_link(
      [&err = terminal.err](std::string_view line) { err << "rubato: " << line << std::endl; });
}

std::string island_introduction(const v1::RunDescription& run, const std::string& data) {
  Introduction told{build_id(), run.SerializeAsString(), data};
  return to_archive(told);
}

int serve_as_member(IslandLink& link, const Terminal& terminal, int threads) {
  // mpirun passes a signal on to every rank: rank 0 hands in what is done and lets the others go.
  if (terminal.watch_interrupts) terminal.watch_interrupts();
  BuiltWorkload built;
  PosixFileSystem files;
  const int count = thread_count(threads);
  serve_island(
      link, files,
      [&](const std::string& text) -> StatusOr<const Workload*> {
        RUBATO_ASSIGN_OR_RETURN(built, build_member_workload(text, count));
        return built.workload.get();
      },
      count);
  return kExitOk;
}

}  // namespace rubato

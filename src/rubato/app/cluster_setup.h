// From a recipe to the two ends of a cluster: what the coordinator drives and tells, and what a
// worker makes of what it is told.
#pragma once

#include <string>
#include <vector>

#include "rubato/app/build.h"
#include "rubato/rpc/cluster.h"
#include "rubato/rpc/reception.h"
#include "rubato/rpc/worker_program.h"

namespace rubato {

/// What one recipe says about a cluster.
struct ClusterSetup {
  SimulationConfig training;  // of the phase that the workers make
  ClusterConfig cluster;      // directory, threads and flags are still to be set
  ReceptionConfig reception;
};

/// The workload of a run in `directory`, as a coordinator or a replay needs it: an opaque model's
/// layout is there. NotFound when its run has no model yet.
StatusOr<BuiltWorkload> build_for_run(const Recipe& recipe, const std::string& directory,
                                      FileSystem& files, int threads);

/// InvalidArgument names the recipe key when the recipe is none for a cluster.
StatusOr<ClusterSetup> cluster_setup(const Recipe& recipe, const BuiltWorkload& built,
                                     FileSystem& files);

/// A worker's view of the run: the recipe with its data where this machine has it.
StatusOr<Recipe> recipe_of_description(const v1::RunDescription& run,
                                       const std::string& data_directory);

/// The digest that both ends must have of a recipe.
std::string cluster_recipe_digest(const Recipe& recipe);

}  // namespace rubato

// Where the parameters of a run come from: its seed, or a model that --init names. A recipe says
// which by the digest of that model (model.init), so that two runs of one recipe begin alike
// wherever the files lie, and a cluster's workers need none of them.
#pragma once

#include <span>
#include <string>

#include "rubato/app/recipe.h"
#include "rubato/store/file_system.h"
#include "rubato/trainer/trainer.h"

namespace rubato {

inline constexpr std::string_view kModelInit = "model.init";

/// The recipe of runs that start from the model in `directory`: with its shape and its digest, and
/// without the pretraining, whose place it takes, unless --set asks for one. InvalidArgument names
/// a key that --set gives otherwise.
StatusOr<Recipe> with_initial_model(FileSystem& files, const Recipe& recipe,
                                    const std::string& directory);

/// Before anything is written: FailedPrecondition when `directory` ("": none was given) is not what
/// the recipe starts from, and when the data were made with another tokenizer than the model.
/// `files` may be null when it starts from its seed.
Status check_initial_model(FileSystem* files, const Recipe& recipe, const Workload& workload,
                           const std::string& directory);

/// Fills `theta` [P]; errors as check_initial_model(), and those of reading.
Status start_parameters(FileSystem* files, const Recipe& recipe, const Workload& workload,
                        const std::string& directory, std::span<float> theta);

}  // namespace rubato

// From a recipe to the objects of a run: the workload, and the configuration of each phase's
// simulation. Checks that need several keys happen here and name the key and its line.
#pragma once

#include <memory>
#include <string>

#include "rubato/app/recipe.h"
#include "rubato/lm/model_config.h"
#include "rubato/sim/simulation.h"
#include "rubato/trainer/trainer.h"

namespace rubato {

/// A workload with what identifies its data.
struct BuiltWorkload {
  std::unique_ptr<Workload> workload;
  std::string data_digest;
};

/// Opens or generates the data. Errors name the recipe key, or the file that is at fault; an opaque
/// model is one, since nothing of it is here.
StatusOr<BuiltWorkload> build_workload(const Recipe& recipe, int threads);
/// The workload of a recipe with model.kind = "opaque", with the layout that its first worker gave.
StatusOr<BuiltWorkload> build_opaque(const Recipe& recipe, Layout layout);

/// FailedPrecondition when this processor cannot train as the recipe wants; it may evaluate.
Status check_processor(const Recipe& recipe);

/// The pretraining: one worker over all shards, plain inner optimizer steps. The recipe has
/// pretrain.steps.
StatusOr<SimulationConfig> pretraining_config(const Recipe& recipe, int threads);

/// The phase that a method decides: local steps with an outer rule, or, in mode data-parallel, one
/// worker that stands for all and makes k times the batch in each of its steps.
StatusOr<SimulationConfig> training_config(const Recipe& recipe, int threads);

/// The shape of a recipe's language model over a vocabulary of `data_vocab`, 0 where the text is
/// not known: then the recipe's or the preset's own.
StatusOr<ModelConfig> build_model(const Recipe& recipe, int64_t data_vocab);

/// The outer chain of a recipe, by names and options.
ChainSpec chain_spec(const Recipe& recipe);

/// Everything the pretraining's result depends on, as text: methods with the same one share it.
std::string pretraining_key(const Recipe& recipe);

}  // namespace rubato

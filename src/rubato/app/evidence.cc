#include "rubato/app/evidence.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "rubato/app/build.h"
#include "rubato/app/methods.h"
#include "rubato/app/tune.h"
#include "rubato/base/digest.h"
#include "rubato/metrics/format.h"
#include "rubato/metrics/run_statistics.h"
#include "rubato/store/checkpoint.h"

namespace rubato {
namespace {

constexpr int64_t kMeasuredSteps = 800;

bool trains(const Recipe& recipe) { return recipe.text("train.mode") != "pretrain-only"; }

int64_t tokens_per_step(const Recipe& recipe, const Workload& workload) {
  return recipe.integer("train.batch_sequences") * workload.tokens_per_sequence();
}

double training_tokens(const Recipe& recipe, const Workload& workload) {
  if (!trains(recipe)) return 0;
  return recipe.real("train.extend") *
         static_cast<double>(recipe.integer("train.budget_local_steps") *
                             tokens_per_step(recipe, workload));
}

std::string run_name(const Experiment& experiment, const PlannedRun& run) {
  return cat(experiment.name, "-", experiment.cells[run.cell].name, "-",
             experiment.rows[run.row].name, "-seed-", run.seed);
}

// The loss of the synchronous run beside `run`: of the same cell and seed.
std::optional<double> sync_loss(const EvidenceBook& book, const std::vector<PlannedRun>& plan,
                                const PlannedRun& run) {
  for (const PlannedRun& other : plan) {
    if (other.cell != run.cell || other.seed != run.seed) continue;
    if (other.recipe.text("run.method") != kReferenceMethod) continue;
    const std::optional<EvidenceRow> row = book.find(other);
    if (row && row->summary.failure.empty()) return row->summary.val_loss_nats;
    return std::nullopt;
  }
  return std::nullopt;
}

void add_curve(const RecordLog& log, EvidenceRow& row) {
  for (const EvalRecord& eval : log.evals) {
    if (eval.phase != RunPhase::kTrain) continue;
    row.curve_tokens.push_back(eval.tokens);
    row.curve_time_s.push_back(to_seconds(eval.virtual_time_ns));
    row.curve_loss_nats.push_back(eval.loss_nats);
  }
}

}  // namespace

EvidenceRunner::EvidenceRunner(EvidenceWork work, EvidenceBook& book)
    : work_(std::move(work)), book_(book), workloads_(work_.environment.threads) {}

StatusOr<bool> EvidenceRunner::tune(const TuningFile& tuning) {
  FileSystem& files = *work_.environment.files;
  const std::string path = book_.tuning_path(tuning.name);
  RUBATO_ASSIGN_OR_RETURN(const Recipe base, recipe_under(tuning.base, tuning.sets));
  TuningPlan plan{.methods = tuning.methods, .grid = {}, .seed = tuning.seed};
  for (size_t i = 0; i < tuning.methods.size(); ++i) {
    plan.grids[tuning.methods[i]] = tuning.grids[i];
  }
  nlohmann::ordered_json before = nlohmann::ordered_json::array();
  if (files.exists(path)) {
    RUBATO_ASSIGN_OR_RETURN(const std::string text, files.read_file(path));
    RUBATO_ASSIGN_OR_RETURN(before, tuning_rows(path, text));
    plan.known = known_losses(before);
  }
  RUBATO_RETURN_IF_ERROR(estimate_tuning(tuning, base, plan.known.size()));
  const auto announce = [&](const std::string& trial) { work_.say(cat(tuning.name, ": ", trial)); };
  const auto keep = [&](const Tuning& so_far) -> Status {
    RUBATO_RETURN_IF_ERROR(files.make_directories(parent_path(path)));
    return files.replace_file(path, tuning_json(so_far, before).dump(2) + "\n");
  };
  RUBATO_ASSIGN_OR_RETURN(const Tuning done,
                          tune_methods(base, plan, work_.environment, announce, keep));
  if (done.interrupted) return false;
  // A grid that changed may have another best among trials that were all known.
  RUBATO_RETURN_IF_ERROR(keep(done));
  return true;
}

StatusOr<bool> EvidenceRunner::run(const Experiment& experiment, const TunedSteps& tuned,
                                   const std::function<Status()>& after_row) {
  RUBATO_ASSIGN_OR_RETURN(const std::vector<PlannedRun> plan, plan_experiment(experiment, tuned));
  std::vector<const PlannedRun*> missing;
  std::set<std::string> claimed;  // losses that an earlier run of the plan will have made
  for (const PlannedRun& run : plan) {
    RUBATO_ASSIGN_OR_RETURN(const BuiltWorkload* built, workloads_.get(run.recipe));
    if (book_.find(run, built->data_digest)) continue;
    if (claimed.insert(run.losses_digest).second) missing.push_back(&run);
  }
  if (missing.empty()) {
    work_.say(cat(experiment.name, ": all ", plan.size(), " rows are there"));
    return true;
  }
  RUBATO_RETURN_IF_ERROR(estimate(experiment, missing));
  for (size_t i = 0; i < missing.size(); ++i) {
    const PlannedRun& run = *missing[i];
    work_.say(cat("[", i + 1, "/", missing.size(), "] ", run_name(experiment, run)));
    StatusOr<bool> finished = run_one(experiment, run, sync_loss(book_, plan, run));
    RUBATO_RETURN_IF_ERROR(annotate(finished.status(), run_name(experiment, run)));
    if (!*finished) return false;
    RUBATO_RETURN_IF_ERROR(after_row());
  }
  return true;
}

StatusOr<RunResult> EvidenceRunner::run_again(const Recipe& recipe) {
  RUBATO_ASSIGN_OR_RETURN(const BuiltWorkload* built, workloads_.get(recipe));
  RunEnvironment own = work_.environment;
  own.directory.clear();
  own.pretrained = &pretrained_;
  return run_recipe(recipe, *built->workload, built->data_digest, own);
}

Status EvidenceRunner::estimate_tuning(const TuningFile& tuning, const Recipe& base, size_t known) {
  const size_t trials = tuning.methods.size() * tuning.grids.front().size();
  if (known >= trials) return absl::OkStatus();
  RUBATO_ASSIGN_OR_RETURN(const Recipe recipe, recipe_for_method(base, tuning.methods.front()));
  RUBATO_ASSIGN_OR_RETURN(const BuiltWorkload* built, workloads_.get(recipe));
  RUBATO_ASSIGN_OR_RETURN(const double rate, measure_rate(recipe, *built));
  const double tokens =
      static_cast<double>(trials - known) * training_tokens(recipe, *built->workload);
  work_.say(cat(tuning.name, ": ", trials - known, " of ", trials, " trials, ", short_count(tokens),
                " tokens, about ", clock_time(tokens / rate), " at the rate just measured, ",
                short_count(rate), " tokens/s"));
  return absl::OkStatus();
}

Status EvidenceRunner::estimate(const Experiment& experiment,
                                const std::vector<const PlannedRun*>& missing) {
  double tokens = 0, seconds = 0;
  std::map<size_t, double> rates;            // by cell
  std::set<std::string> pretrained_by_then;  // keys
  for (const PlannedRun* run : missing) {
    RUBATO_ASSIGN_OR_RETURN(const BuiltWorkload* built, workloads_.get(run->recipe));
    double own = training_tokens(run->recipe, *built->workload);
    const std::string key = pretraining_key(run->recipe);
    if (run->recipe.has("pretrain.steps") && !pretrained_.contains(key) &&
        pretrained_by_then.insert(key).second) {
      own += static_cast<double>(run->recipe.integer("pretrain.steps") *
                                 tokens_per_step(run->recipe, *built->workload));
    }
    double& rate = rates[run->cell];
    if (rate == 0 && trains(run->recipe)) {
      RUBATO_ASSIGN_OR_RETURN(rate, measure_rate(run->recipe, *built));
    }
    tokens += own;
    if (rate > 0) seconds += own / rate;
  }
  std::vector<std::string> measured;
  for (const auto& [cell, rate] : rates) {
    measured.push_back(cat(short_count(rate), " (", experiment.cells[cell].name, ")"));
  }
  work_.say(cat(experiment.name, ": ", missing.size(), " runs, ", short_count(tokens),
                " tokens, about ", clock_time(seconds),
                " at the rate just measured, tokens/s: ", join(measured, ", ")));
  return absl::OkStatus();
}

StatusOr<double> EvidenceRunner::measure_rate(const Recipe& recipe, const BuiltWorkload& built) {
  const int64_t round =
      std::ssize(recipe.reals("fleet.seconds_per_step")) * recipe.integer("train.local_steps");
  const int64_t rounds = std::max<int64_t>(kMeasuredSteps / round, 1);
  RUBATO_ASSIGN_OR_RETURN(
      const Recipe brief,
      recipe.with("train.budget_local_steps",
                  std::min(rounds * round, recipe.integer("train.budget_local_steps")),
                  "estimate"));
  // Instead of a pretraining: how fast training is does not depend on where it starts.
  Pretrained start;
  start.theta.resize(static_cast<size_t>(built.workload->layout().size()));
  built.workload->initialise(static_cast<uint64_t>(recipe.integer("run.seed")), start.theta);
  PretrainedByKey untrained = {{pretraining_key(brief), std::move(start)}};
  RunEnvironment own = work_.environment;
  own.directory.clear();
  own.progress = nullptr;
  own.pretrained = &untrained;
  RUBATO_ASSIGN_OR_RETURN(const RunResult result,
                          run_recipe(brief, *built.workload, built.data_digest, own));
  return result.data.summary.train_tokens_per_s;
}

StatusOr<std::string> EvidenceRunner::prepare_directory(const Experiment& experiment,
                                                        const PlannedRun& run,
                                                        const std::string& data_digest) {
  FileSystem& files = *work_.environment.files;
  const std::string& all = work_.environment.directory;
  const std::string prefix = cat(run_name(experiment, run), "-");
  Digester digester;
  digester.update(cat(run.recipe.digest(), data_digest, work_.environment.build_id));
  const std::string name = cat(prefix, digester.hex().substr(0, 8));
  RUBATO_RETURN_IF_ERROR(files.make_directories(all));
  RUBATO_ASSIGN_OR_RETURN(const std::vector<DirectoryEntry> entries, files.list(all));
  for (const DirectoryEntry& entry : entries) {
    if (!entry.name.starts_with(prefix) || entry.name == name) continue;
    work_.say(cat("  starts again: build, recipe or data changed since ", entry.name));
    RUBATO_RETURN_IF_ERROR(files.remove_tree(join_path(all, entry.name)));
  }
  const std::string directory = join_path(all, name);
  if (files.exists(directory)) {
    RUBATO_ASSIGN_OR_RETURN(const auto checkpoints, list_checkpoints(files, directory));
    work_.say(checkpoints.empty() ? std::string("  starts again: it had no checkpoint yet")
                                  : cat("  goes on from ", base_name(checkpoints.front())));
  }
  return directory;
}

StatusOr<bool> EvidenceRunner::run_one(const Experiment& experiment, const PlannedRun& run,
                                       std::optional<double> sync_loss_nats) {
  RUBATO_ASSIGN_OR_RETURN(const BuiltWorkload* built, workloads_.get(run.recipe));
  RunEnvironment own = work_.environment;
  RUBATO_ASSIGN_OR_RETURN(own.directory, prepare_directory(experiment, run, built->data_digest));
  own.resume = true;
  own.pretrained = &pretrained_;
  RUBATO_ASSIGN_OR_RETURN(RunResult result,
                          run_recipe(run.recipe, *built->workload, built->data_digest, own));
  if (result.interrupted) return false;

  EvidenceRow row;
  row.experiment = experiment.name;
  row.cell = experiment.cells[run.cell].name;
  row.row = experiment.rows[run.row].name;
  row.date = work_.today();
  row.processor = work_.processor;
  row.losses_digest = run.losses_digest;
  row.seconds_per_step = run.recipe.reals("fleet.seconds_per_step");
  row.summary = std::move(result.data.summary);
  row.outer_rounds = static_cast<double>(row.summary.local_steps) /
                     static_cast<double>(std::ssize(row.seconds_per_step) *
                                         run.recipe.integer("train.local_steps"));
  add_curve(result.data.log, row);
  if (run.recipe.text("run.method") == kReferenceMethod) sync_loss_nats = row.summary.val_loss_nats;
  if (sync_loss_nats && row.summary.failure.empty()) {
    const double reached = time_to_loss(row, *sync_loss_nats + kSyncLossSlackNats);
    if (std::isfinite(reached)) row.summary.time_to_sync_loss_s = reached;
  }
  RUBATO_RETURN_IF_ERROR(book_.append(std::move(row)));
  RUBATO_RETURN_IF_ERROR(own.files->remove_tree(own.directory));
  return true;
}

}  // namespace rubato

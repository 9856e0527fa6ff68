#include "rubato/app/evidence_check.h"

#include <charconv>
#include <cmath>

namespace rubato {

StatusOr<std::vector<CheckableRow>> checkable_rows(const Experiment& experiment,
                                                   const TunedSteps& tuned,
                                                   const EvidenceBook& book) {
  RUBATO_ASSIGN_OR_RETURN(const std::vector<PlannedRun> plan, plan_experiment(experiment, tuned));
  std::vector<CheckableRow> rows;
  for (const PlannedRun& run : plan) {
    const std::optional<EvidenceRow> row = book.find(run);
    if (!row || row->summary.wall_time_s > kCheapWall_s) continue;
    if (row->summary.recipe_digest == run.recipe.digest()) rows.push_back({*row, run.recipe});
  }
  return rows;
}

StatusOr<size_t> choose_row(std::string_view which, size_t count) {
  if (count == 0) {
    return absl::NotFoundError(cat("[evidence] --check: got no row of at most ", kCheapWall_s,
                                   " s, want an experiment with cheap ones; run it first"));
  }
  constexpr size_t kShortestHash = 7, kDigits = 15;
  const bool is_hash = which.size() >= kShortestHash;
  const std::string_view digits = which.substr(0, kDigits);
  uint64_t number = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), number, is_hash ? 16 : 10);
  const bool sound = error == std::errc() && end == digits.data() + digits.size();
  if (!sound || (!is_hash && number >= count)) {
    return absl::InvalidArgumentError(cat("[evidence] --check: got ", which,
                                          ", want a commit's hash or a row's number in 0 .. ",
                                          count - 1));
  }
  return static_cast<size_t>(number % count);
}

StatusOr<std::string> check_row(const CheckableRow& checked, std::string_view processor,
                                EvidenceRunner& runner) {
  const RunSummary& before = checked.row.summary;
  const std::string who = cat(checked.row.experiment, ", ", checked.row.cell, ", ", checked.row.row,
                              ", seed ", before.seed);
  RUBATO_ASSIGN_OR_RETURN(const RunResult again, runner.run_again(checked.recipe));
  const RunSummary& now = again.data.summary;
  if (now.data_digest != before.data_digest) {
    return absl::FailedPreconditionError(
        cat("[evidence] ", who, ": got data ", now.data_digest, ", want ", before.data_digest));
  }
  if (checked.row.processor != processor) {
    const double distance = std::fabs(now.val_loss_nats - before.val_loss_nats);
    if (distance <= kOtherProcessorSlackNats) {
      return cat(who, ": made on ", checked.row.processor, "; here the loss differs by ", distance,
                 " nats");
    }
    return absl::DataLossError(cat("[evidence] ", who, ": got a loss of ", now.val_loss_nats,
                                   ", want ", before.val_loss_nats, " +- ",
                                   kOtherProcessorSlackNats, " as on ", checked.row.processor));
  }
  if (now.params_digest != before.params_digest || now.val_loss_nats != before.val_loss_nats) {
    return absl::DataLossError(cat("[evidence] ", who, ": got parameters ", now.params_digest,
                                   ", loss ", now.val_loss_nats, "; want ", before.params_digest,
                                   ", ", before.val_loss_nats));
  }
  return cat(who, ": the same bits, parameters ", now.params_digest);
}

}  // namespace rubato

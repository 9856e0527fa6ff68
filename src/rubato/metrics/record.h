// What a run records: plain structs, each one JSON object on one line with flat keys that carry
// their units (docs/metrics.md is the table of keys). metrics.jsonl holds evaluations and updates,
// events.jsonl spans and events, summary.json one RunSummary.
//
// Local steps and tokens are counted within the phase: pretraining counts apart, as the budget
// does. Numbers that are not finite are written as null and read back as NaN.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "rubato/base/ids.h"
#include "rubato/base/status.h"

namespace rubato {

enum class RunPhase { kPretrain, kTrain };

/// One evaluation over the validation set.
struct EvalRecord {
  RunPhase phase = RunPhase::kTrain;
  std::string method;          // pretrained, k-batch, sync-diloco, async-nesterov, dn-dylu, ..
  int64_t local_steps = 0;     // of all workers together
  int64_t tokens = 0;          // of all workers together
  int64_t server_updates = 0;  // outer steps that moved theta; 0 while pretraining
  Version version;
  Nanos virtual_time_ns = 0;  // simulated; equals the real time since the start on a cluster
  Nanos wall_time_ns = 0;     // real, since the run's start
  double loss_nats = 0;       // mean per token
  double bits_per_byte = 0;   // 0 where the data has no bytes
  double accuracy = 0;        // share in [0, 1]; 0 where it is not computed

  /// exp(loss_nats); written, and computed again on reading.
  double perplexity() const;
};

/// One arrival at the coordinator, whatever became of it.
struct UpdateRecord {
  Nanos virtual_time_ns = 0;
  WorkerId worker;
  int64_t workers = 1;  // that made it together, from `worker` on; all of them in k x batch
  TaskId task;
  ShardId shard;
  int64_t steps = 0;           // local steps done in the task, by each of them
  int64_t tokens = 0;          // of all of them
  double train_loss_nats = 0;  // mean over the task's steps
  double lr = 0;               // inner learning rate of the task's last step
  int64_t staleness = 0;       // [versions]
  Version version;             // after the update
  double delta_norm = 0;       // l2 norm of the pseudo-gradient as it arrived
  int64_t bytes_down = 0;      // [bytes] of the parameters that were sent to the worker
  int64_t bytes_up = 0;        // [bytes] of what the worker sent back
  std::string verdict;         // applied | held | discarded | rejected:REASON
  // Of the outer step that it was part of; NaN where nothing was measured or there is no momentum.
  double momentum_cosine = std::numeric_limits<double>::quiet_NaN();  // of delta and momentum
  double momentum_norm = std::numeric_limits<double>::quiet_NaN();    // before the step
  double step_norm = std::numeric_limits<double>::quiet_NaN();        // |theta after - before|
  double aligned_gain = std::numeric_limits<double>::quiet_NaN();     // 1 + beta + beta^2 * c

  /// The verdict's first word is `word`: has_verdict("rejected") is true for rejected:late.
  bool has_verdict(std::string_view word) const;
};

/// Training and waiting never meet; what travels lies beside either.
enum class SpanKind {
  kTrain,    // from the first local step to the last
  kWait,     // nothing to train, whatever travels; carries the task that was over
  kLost,     // from dispatch to the moment the coordinator gave the task up
  kReceive,  // parameters come
  kSend,     // a pseudo-gradient goes
};

/// What a worker did during [begin_ns, end_ns) of virtual time.
struct TaskSpan {
  WorkerId worker;
  TaskId task;
  ShardId shard;
  Nanos begin_ns = 0;
  Nanos end_ns = 0;
  SpanKind kind = SpanKind::kTrain;
};

/// A sentence about something notable: a worker joined, a checkpoint was written, a run resumed.
struct EventRecord {
  Nanos virtual_time_ns = 0;
  std::string text;
};

/// What one worker contributed.
struct WorkerTotals {
  int64_t updates = 0;  // arrivals that were not rejected
  int64_t steps = 0;
  int64_t tokens = 0;
  double train_s = 0;  // virtual
  double wait_s = 0;   // virtual

  /// wait / (train + wait); 0 for a worker that did neither.
  double wait_share() const;
};

inline constexpr int64_t kSummarySchemaVersion = 1;

/// A run in one object: summary.json and each row of `compare --json`.
struct RunSummary {
  int64_t schema_version = kSummarySchemaVersion;
  std::string build_id;
  std::string data_digest;
  std::string recipe_digest;
  std::string method;
  uint64_t seed = 0;
  bool finished = true;        // false while it runs, or when it was stopped
  std::string failure;         // diverged; "" when it reached its budget
  int64_t workers = 0;         // of the recipe
  int64_t local_steps = 0;     // of all workers together
  int64_t tokens = 0;          // of all workers together
  int64_t server_updates = 0;  // outer steps that moved theta
  int64_t arrivals = 0;
  int64_t discarded = 0;
  int64_t rejected = 0;
  int64_t bytes_down = 0;    // [bytes] to all workers, of tasks that arrived
  int64_t bytes_up = 0;      // [bytes] from all workers
  double val_loss_nats = 0;  // of the last evaluation; NaN after a failure or without one
  double val_bits_per_byte = 0;
  double val_accuracy = 0;
  double final_train_loss_nats = 0;  // token-weighted mean of the last tenth of the arrivals
  double virtual_time_s = 0;
  double wall_time_s = 0;
  double train_tokens_per_s = 0;              // tokens by the real clock
  double staleness_mean = 0;                  // [versions] over arrivals that were not rejected
  int64_t staleness_max = 0;                  // [versions]
  std::vector<int64_t> staleness_counts;      // element s: arrivals of staleness s, likewise
  std::optional<double> time_to_sync_loss_s;  // virtual; null when never or not compared
  double utilisation = 0;                     // share of the workers' time spent training
  double delta_norm_mean = 0;                 // the means are over arrivals that were not rejected
  double step_norm_mean = 0;                  // and have the figure; NaN without any
  double momentum_cosine_mean = 0;
  double aligned_gain_mean = 0;
  std::string params_digest;
  std::vector<WorkerTotals> per_worker;  // by worker id; arrays worker_* in JSON

  double val_perplexity() const;
};

/// Everything a run recorded, in order.
struct RecordLog {
  std::vector<EvalRecord> evals;
  std::vector<UpdateRecord> updates;
  std::vector<TaskSpan> spans;
  std::vector<EventRecord> events;
};

/// The record as an object whose keys keep the order of docs/metrics.md; `kind` comes first.
nlohmann::ordered_json to_json(const EvalRecord& record);
nlohmann::ordered_json to_json(const UpdateRecord& record);
nlohmann::ordered_json to_json(const TaskSpan& record);
nlohmann::ordered_json to_json(const EventRecord& record);
nlohmann::ordered_json to_json(const RunSummary& summary);
/// to_json as one line without the newline.
std::string to_line(const EvalRecord& record);
std::string to_line(const UpdateRecord& record);
std::string to_line(const TaskSpan& record);
std::string to_line(const EventRecord& record);
std::string to_line(const RunSummary& summary);

/// Strict: a missing key or a value of another type is InvalidArgument; keys that nobody knows are
/// left alone, so that an older program reads a newer run.
StatusOr<RunSummary> summary_from_json(std::string_view text);

/// Adds the records of a .jsonl text to `log`. A last line without its newline that does not parse
/// is the torn end of a running or killed run and is left out; any other bad line is
/// InvalidArgument `[who] line N: ..`.
Status read_records(std::string_view who, std::string_view text, RecordLog& log);

}  // namespace rubato

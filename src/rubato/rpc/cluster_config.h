// What a live cluster is told when it begins: which run, and what it may use of its surroundings.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rubato/metrics/sink.h"
#include "rubato/rpc/notice.h"
#include "rubato/rpc/run_identity.h"
#include "rubato/rpc/timeline.h"
#include "rubato/server/machine.h"
#include "rubato/store/file_system.h"
#include "rubato/store/retention.h"
#include "rubato/trainer/trainer.h"

namespace rubato {

struct ClusterConfig {
  std::string directory;
  std::string build_id;
  RunDigests digests;
  MachineConfig machine;
  std::vector<int64_t> shard_sequences;  // of the logical shards
  int64_t tokens_per_sequence = 1;
  std::string method = "cluster";
  int threads = 1;
  Nanos lease = 30 * kNanosPerSecond;
  int64_t start_workers = 1;                          // that training waits for
  std::optional<std::vector<ScriptedWorker>> script;  // present: the virtual clock
  bool keep_deltas = false;                           // for a replay from the beginning
  std::optional<int64_t> quota_bytes;                 // [bytes] of the spool
  RetentionPolicy retention;                          // of snapshots
  std::optional<int64_t> eval_every_steps;            // [local steps]
};

struct ClusterServices {
  FileSystem* files = nullptr;
  std::function<Nanos()> clock;  // monotonic
  MetricsSink* sink = nullptr;   // only the driver's thread records
  /// Of theta [P]; called on a thread of low priority. Null: nothing is evaluated.
  std::function<StatusOr<EvalResult>(std::span<const float>)> evaluate;
  NoticeSink note;
  /// Makes an evaluation that is under way end soon, when the coordinator stops. May be null.
  std::function<void()> stop_evaluation;
  /// What else a snapshot is to remember; called on the driver's thread.
  std::function<StatusOr<std::map<std::string, std::string>>()> snapshot_notes;
};

}  // namespace rubato

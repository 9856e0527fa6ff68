// What a run writes into the notes of its checkpoints beside the simulation's state: where its
// records and clocks stood.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "rubato/app/run_recorder.h"
#include "rubato/metrics/sink.h"

namespace rubato {

struct RunNotes {
  RunPhase phase = RunPhase::kTrain;
  JsonlOffset offset;              // of the record files
  Nanos wall_ns = 0;               // real time of the run so far, all sessions
  Nanos training_began_ns = 0;     // of that, when the training phase began
  int64_t pretrain_steps = 0;      // before the phase; the checkpoint's number counts them
  std::string vocabulary;          // digest of the tokenizer; "" without text
  std::optional<BudgetMark> mark;  // when the budget was reached before

  std::map<std::string, std::string> to_map() const;
  /// DataLoss `[resume] WHO: ..` when a note is missing or is no number.
  static StatusOr<RunNotes> from_map(const std::string& who,
                                     const std::map<std::string, std::string>& notes);
};

}  // namespace rubato

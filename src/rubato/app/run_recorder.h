// Where a run's simulation records: memory for the summary, the run directory's files, and the
// progress display. It marks the evaluation at which the token budget is reached, so that a run
// that goes on beyond it is still compared at equal tokens.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "rubato/metrics/progress.h"
#include "rubato/metrics/record.h"
#include "rubato/metrics/sink.h"

namespace rubato {

/// How much of the log lies at or before the budget, and the parameters' digest there.
struct BudgetMark {
  size_t evals = 0, updates = 0, spans = 0;
  std::string params_digest;

  /// One line for a checkpoint's notes, and back; nullopt when it is no such line.
  std::string to_text() const;
  static std::optional<BudgetMark> from_text(const std::string& text);
};

class RunRecorder final : public MetricsSink {
 public:
  /// `files` and `progress` may be null; they outlive the recorder.
  RunRecorder(JsonlSink* files, ProgressPrinter* progress) : files_(files), progress_(progress) {}

  /// Of the pretraining only evaluations are kept: its updates are nobody's contribution.
  void set_phase(RunPhase phase) { phase_ = phase; }
  /// Marks the first evaluation of the training phase with at least this many local steps.
  void mark_at(int64_t local_steps, std::function<std::string()> params_digest);
  /// Continues the log and the mark of a resumed run.
  void restore(RecordLog log, std::optional<BudgetMark> mark);

  /// Hands everything on to `sink` from now on, and what was recorded before at once; it outlives
  /// the recorder.
  void also_to(MetricsSink* sink);

  /// An evaluation that another run made and showed: recorded, not shown again.
  void take_over(const EvalRecord& record);
  /// A sentence about the run itself, whatever the phase.
  void note(const EventRecord& event);

  void on_update(const UpdateRecord& record) override;
  void on_eval(const EvalRecord& record) override;
  void on_span(const TaskSpan& span) override;
  void on_event(const EventRecord& event) override;
  Status error() const override;
  Status flush() override;

  const RecordLog& log() const { return memory_.log(); }
  const std::optional<BudgetMark>& mark() const { return mark_; }
  /// The log up to the mark; all of it without one.
  RecordLog log_at_budget() const;

 private:
  MemorySink memory_;
  JsonlSink* files_;
  MetricsSink* also_ = nullptr;
  ProgressPrinter* progress_;
  RunPhase phase_ = RunPhase::kTrain;
  int64_t mark_steps_ = 0;
  std::function<std::string()> params_digest_;
  std::optional<BudgetMark> mark_;
};

}  // namespace rubato

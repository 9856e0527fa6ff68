#include "rubato/app/run_recorder.h"

#include <sstream>

namespace rubato {

std::string BudgetMark::to_text() const {
  return cat(evals, " ", updates, " ", spans, " ", params_digest);
}

std::optional<BudgetMark> BudgetMark::from_text(const std::string& text) {
  BudgetMark mark;
  std::istringstream in(text);
  in >> mark.evals >> mark.updates >> mark.spans >> mark.params_digest;
  if (in.fail()) return std::nullopt;
  return mark;
}

void RunRecorder::mark_at(int64_t local_steps, std::function<std::string()> params_digest) {
  mark_steps_ = local_steps;
  params_digest_ = std::move(params_digest);
}

void RunRecorder::restore(RecordLog log, std::optional<BudgetMark> mark) {
  for (const EvalRecord& record : log.evals) memory_.on_eval(record);
  for (const UpdateRecord& record : log.updates) memory_.on_update(record);
  for (const TaskSpan& span : log.spans) memory_.on_span(span);
  for (const EventRecord& event : log.events) memory_.on_event(event);
  mark_ = std::move(mark);
}

void RunRecorder::also_to(MetricsSink* sink) {
  also_ = sink;
  // Updates first: they are many, and evaluations are what makes a sink write.
  for (const UpdateRecord& record : log().updates) sink->on_update(record);
  for (const TaskSpan& span : log().spans) sink->on_span(span);
  for (const EventRecord& event : log().events) sink->on_event(event);
  for (const EvalRecord& record : log().evals) sink->on_eval(record);
}

void RunRecorder::on_update(const UpdateRecord& record) {
  if (phase_ == RunPhase::kPretrain) return;
  memory_.on_update(record);
  if (files_ != nullptr) files_->on_update(record);
  if (also_ != nullptr) also_->on_update(record);
}

void RunRecorder::take_over(const EvalRecord& record) {
  memory_.on_eval(record);
  if (files_ != nullptr) files_->on_eval(record);
  if (also_ != nullptr) also_->on_eval(record);
}

void RunRecorder::on_eval(const EvalRecord& record) {
  take_over(record);
  if (progress_ != nullptr) progress_->evaluation(eval_line(record));
  const bool at_budget =
      phase_ == RunPhase::kTrain && params_digest_ != nullptr && record.local_steps >= mark_steps_;
  if (!at_budget || mark_) return;
  const RecordLog& log = memory_.log();
  mark_ = BudgetMark{log.evals.size(), log.updates.size(), log.spans.size(), params_digest_()};
}

void RunRecorder::on_span(const TaskSpan& span) {
  if (phase_ == RunPhase::kPretrain) return;
  memory_.on_span(span);
  if (files_ != nullptr) files_->on_span(span);
  if (also_ != nullptr) also_->on_span(span);
}

void RunRecorder::on_event(const EventRecord& event) {
  if (phase_ == RunPhase::kTrain) note(event);
}

void RunRecorder::note(const EventRecord& event) {
  memory_.on_event(event);
  if (files_ != nullptr) files_->on_event(event);
  if (also_ != nullptr) also_->on_event(event);
}

Status RunRecorder::error() const {
  if (files_ != nullptr) RUBATO_RETURN_IF_ERROR(files_->error());
  return also_ == nullptr ? absl::OkStatus() : also_->error();
}

Status RunRecorder::flush() {
  if (files_ != nullptr) RUBATO_RETURN_IF_ERROR(files_->flush());
  return also_ == nullptr ? absl::OkStatus() : also_->flush();
}

RecordLog RunRecorder::log_at_budget() const {
  RecordLog log = memory_.log();
  if (!mark_) return log;
  log.evals.resize(std::min(log.evals.size(), mark_->evals));
  log.updates.resize(std::min(log.updates.size(), mark_->updates));
  log.spans.resize(std::min(log.spans.size(), mark_->spans));
  return log;
}

}  // namespace rubato

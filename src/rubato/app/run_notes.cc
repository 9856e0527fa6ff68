#include "rubato/app/run_notes.h"

#include <charconv>

namespace rubato {
namespace {

constexpr const char* kPhase = "phase";
constexpr const char* kPretrain = "pretrain";
constexpr const char* kTrain = "train";
constexpr const char* kMetricsBytes = "metrics_bytes";
constexpr const char* kEventsBytes = "events_bytes";
constexpr const char* kWall = "wall_time_ns";
constexpr const char* kTrainingBegan = "training_began_ns";
constexpr const char* kPretrainSteps = "pretrain_steps";
constexpr const char* kVocabulary = "vocabulary_digest";
constexpr const char* kMark = "budget_mark";

}  // namespace

std::map<std::string, std::string> RunNotes::to_map() const {
  std::map<std::string, std::string> notes = {
      {kPhase, phase == RunPhase::kTrain ? kTrain : kPretrain},
      {kMetricsBytes, cat(offset.metrics_bytes)},
      {kEventsBytes, cat(offset.events_bytes)},
      {kWall, cat(wall_ns)},
      {kTrainingBegan, cat(training_began_ns)},
      {kPretrainSteps, cat(pretrain_steps)}};
  if (!vocabulary.empty()) notes[kVocabulary] = vocabulary;
  if (mark) notes[kMark] = mark->to_text();
  return notes;
}

StatusOr<RunNotes> RunNotes::from_map(const std::string& who,
                                      const std::map<std::string, std::string>& notes) {
  const auto bad = [&](std::string_view name) {
    return absl::DataLossError(cat("[resume] ", who, ": got no sound note ", name,
                                   ", want all; take an older checkpoint"));
  };
  RunNotes out;
  const auto phase = notes.find(kPhase);
  if (phase == notes.end() || (phase->second != kTrain && phase->second != kPretrain)) {
    return bad(kPhase);
  }
  out.phase = phase->second == kTrain ? RunPhase::kTrain : RunPhase::kPretrain;
  for (const auto& [name, value] :
       {std::pair<const char*, int64_t*>{kMetricsBytes, &out.offset.metrics_bytes},
        {kEventsBytes, &out.offset.events_bytes},
        {kWall, &out.wall_ns},
        {kTrainingBegan, &out.training_began_ns},
        {kPretrainSteps, &out.pretrain_steps}}) {
    const auto it = notes.find(name);
    if (it == notes.end()) return bad(name);
    const char* end = it->second.data() + it->second.size();
    const auto [stop, error] = std::from_chars(it->second.data(), end, *value);
    if (error != std::errc() || stop != end || *value < 0) return bad(name);
  }
  const auto vocabulary = notes.find(kVocabulary);
  if (vocabulary != notes.end()) out.vocabulary = vocabulary->second;
  const auto mark = notes.find(kMark);
  if (mark == notes.end()) return out;
  out.mark = BudgetMark::from_text(mark->second);
  if (!out.mark) return bad(kMark);
  return out;
}

}  // namespace rubato

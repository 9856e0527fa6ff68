// Where a run's records go: a pair of files in the run directory, memory, or several places at
// once. A sink never stops the run in the middle of a step: it keeps its first error and records
// nothing more. Whoever drives the run looks at error() between steps and stops: a checkpoint
// behind lost records would be one of a run that nobody can plot.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "rubato/base/status.h"
#include "rubato/metrics/record.h"
#include "rubato/store/file_system.h"

namespace rubato {

class MetricsSink {
 public:
  virtual ~MetricsSink() = default;
  virtual void on_update(const UpdateRecord& record) = 0;
  virtual void on_eval(const EvalRecord& record) = 0;
  virtual void on_span(const TaskSpan& span) = 0;
  virtual void on_event(const EventRecord& event) = 0;
  /// The first error there was; cheap.
  virtual Status error() const { return {}; }
  /// Everything recorded so far is with the system, or the first error there was.
  virtual Status flush() = 0;
};

/// Keeps everything; for `compare` and tests.
class MemorySink final : public MetricsSink {
 public:
  void on_update(const UpdateRecord& record) override { log_.updates.push_back(record); }
  void on_eval(const EvalRecord& record) override { log_.evals.push_back(record); }
  void on_span(const TaskSpan& span) override { log_.spans.push_back(span); }
  void on_event(const EventRecord& event) override { log_.events.push_back(event); }
  Status flush() override { return {}; }
  const RecordLog& log() const { return log_; }

 private:
  RecordLog log_;
};

/// Lengths of the two files; a checkpoint notes them.
struct JsonlOffset {
  int64_t metrics_bytes = 0;
  int64_t events_bytes = 0;
};

/// metrics.jsonl (evaluations, updates) and events.jsonl (spans, events) in a run directory that
/// exists. Appends; buffers and writes at every evaluation, at flush() and beyond 256 KiB. A full
/// disk leaves at most one torn line, at the end.
class JsonlSink final : public MetricsSink {
 public:
  /// `files` outlives the sink.
  static StatusOr<JsonlSink> open(FileSystem& files, const std::string& run_directory);
  JsonlSink(JsonlSink&&) = default;
  /// Writes what is buffered; an error is lost here, so call flush() first.
  ~JsonlSink() override;

  void on_update(const UpdateRecord& record) override;
  void on_eval(const EvalRecord& record) override;
  void on_span(const TaskSpan& span) override;
  void on_event(const EventRecord& event) override;
  Status error() const override { return first_error_; }
  Status flush() override;

  /// How long the files are, after what was recorded so far is on the disk to survive a crash: what
  /// a checkpoint notes and a resumed run truncates to.
  StatusOr<JsonlOffset> offset();
  /// Forgets everything behind `offset`; DataLoss when a file is shorter than that.
  Status truncate_to(const JsonlOffset& offset);

 private:
  struct Stream {
    std::string path;
    std::unique_ptr<WritableFile> file;  // null once moved from
    int64_t bytes = 0;                   // in the file
    std::string buffer;
  };
  explicit JsonlSink(FileSystem& files) : files_(&files) {}
  Status open_stream(Stream& stream, std::string path);
  Status truncate(Stream& stream, int64_t bytes);
  void add(Stream& stream, const std::string& line);
  void write(Stream& stream);

  FileSystem* files_;
  Stream metrics_;
  Stream events_;
  Status first_error_;
};

/// Evaluations are measured, so no journal makes them again: takes the evaluations that
/// metrics.jsonl has behind `offset` to there, in one atomic write, and forgets all else behind it.
/// Returns what to truncate to instead of `offset`. A torn last line is forgotten; a run without
/// records is left alone.
StatusOr<JsonlOffset> keep_evaluations(FileSystem& files, const std::string& run_directory,
                                       const JsonlOffset& offset);

/// File names inside a run directory.
std::string metrics_path(const std::string& run_directory);
std::string events_path(const std::string& run_directory);
std::string summary_path(const std::string& run_directory);

}  // namespace rubato

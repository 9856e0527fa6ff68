#include "rubato/metrics/sink.h"

#include <utility>

namespace rubato {
namespace {

// Large enough that a write is rare, small enough that a killed run loses little of its tail.
constexpr size_t kBufferBytes = 256 << 10;

}  // namespace

StatusOr<JsonlSink> JsonlSink::open(FileSystem& files, const std::string& run_directory) {
  JsonlSink sink(files);
  RUBATO_RETURN_IF_ERROR(sink.open_stream(sink.metrics_, metrics_path(run_directory)));
  RUBATO_RETURN_IF_ERROR(sink.open_stream(sink.events_, events_path(run_directory)));
  return sink;
}

Status JsonlSink::open_stream(Stream& stream, std::string path) {
  RUBATO_ASSIGN_OR_RETURN(stream.file, files_->open_append(path));
  RUBATO_ASSIGN_OR_RETURN(stream.bytes, files_->file_size(path));
  stream.path = std::move(path);
  return {};
}

JsonlSink::~JsonlSink() {
  write(metrics_);
  write(events_);
}

void JsonlSink::on_update(const UpdateRecord& record) { add(metrics_, to_line(record)); }

void JsonlSink::on_eval(const EvalRecord& record) {
  add(metrics_, to_line(record));
  write(metrics_);
  write(events_);
}

void JsonlSink::on_span(const TaskSpan& span) { add(events_, to_line(span)); }

void JsonlSink::on_event(const EventRecord& event) { add(events_, to_line(event)); }

Status JsonlSink::flush() {
  write(metrics_);
  write(events_);
  return first_error_;
}

StatusOr<JsonlOffset> JsonlSink::offset() {
  RUBATO_RETURN_IF_ERROR(flush());
  // A checkpoint is durable; were these files not, a power cut would leave them shorter than it
  // says, and the run could not be resumed.
  RUBATO_RETURN_IF_ERROR(metrics_.file->sync());
  RUBATO_RETURN_IF_ERROR(events_.file->sync());
  RUBATO_RETURN_IF_ERROR(files_->sync_directory(parent_path(metrics_.path)));
  return JsonlOffset{metrics_.bytes, events_.bytes};
}

Status JsonlSink::truncate_to(const JsonlOffset& offset) {
  RUBATO_RETURN_IF_ERROR(truncate(metrics_, offset.metrics_bytes));
  return truncate(events_, offset.events_bytes);
}

StatusOr<JsonlOffset> keep_evaluations(FileSystem& files, const std::string& run_directory,
                                       const JsonlOffset& offset) {
  const std::string path = metrics_path(run_directory);
  if (!files.exists(path)) return offset;
  RUBATO_ASSIGN_OR_RETURN(const std::string text, files.read_file(path));
  const auto noted = static_cast<size_t>(offset.metrics_bytes);
  if (text.size() <= noted) return offset;
  std::string kept = text.substr(0, noted);
  for (size_t begin = noted, end = 0; (end = text.find('\n', begin)) != std::string::npos;
       begin = end + 1) {
    const std::string_view line = std::string_view(text).substr(begin, end + 1 - begin);
    RecordLog log;
    if (read_records(path, line, log).ok() && !log.evals.empty()) kept.append(line);
  }
  RUBATO_RETURN_IF_ERROR(files.replace_file(path, kept));
  return JsonlOffset{static_cast<int64_t>(kept.size()), offset.events_bytes};
}

Status JsonlSink::truncate(Stream& stream, int64_t bytes) {
  if (bytes < 0 || bytes > stream.bytes) {
    return absl::DataLossError(cat("[metrics] ", stream.path, ": got ", stream.bytes,
                                   " bytes, want at least ", bytes,
                                   "; it was cut after the checkpoint was written"));
  }
  stream.buffer.clear();
  if (bytes == stream.bytes) return {};
  RUBATO_ASSIGN_OR_RETURN(const std::string kept, files_->read_range(stream.path, 0, bytes));
  RUBATO_RETURN_IF_ERROR(stream.file->close());
  RUBATO_RETURN_IF_ERROR(files_->replace_file(stream.path, kept));
  return open_stream(stream, stream.path);
}

void JsonlSink::add(Stream& stream, const std::string& line) {
  stream.buffer += line;
  stream.buffer += '\n';
  if (stream.buffer.size() >= kBufferBytes) write(stream);
}

void JsonlSink::write(Stream& stream) {
  if (stream.buffer.empty()) return;
  // After an error the end of the file is unknown: anything more would stand behind a torn line.
  if (stream.file != nullptr && first_error_.ok()) {
    first_error_ = stream.file->append(stream.buffer);
    stream.bytes += static_cast<int64_t>(stream.buffer.size());
  }
  stream.buffer.clear();
}

std::string metrics_path(const std::string& run_directory) {
  return join_path(run_directory, "metrics.jsonl");
}

std::string events_path(const std::string& run_directory) {
  return join_path(run_directory, "events.jsonl");
}

std::string summary_path(const std::string& run_directory) {
  return join_path(run_directory, "summary.json");
}

}  // namespace rubato

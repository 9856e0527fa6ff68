#include "rubato/metrics/run_tail.h"

#include <algorithm>

#include "rubato/metrics/sink.h"

namespace rubato {
namespace {

constexpr int64_t kBytesAtATime = 256 << 10;
// Of the end of what was read: more than records of two runs have in common behind one another.
constexpr int64_t kRememberedBytes = 256;

}  // namespace

RunTail::RunTail(FileSystem& files, const std::string& run_directory) : files_(files) {
  metrics_.path = metrics_path(run_directory);
  events_.path = events_path(run_directory);
}

StatusOr<RunTail::Found> RunTail::read(RecordLog& log) {
  Found found = Found::kNothing;
  for (Stream* stream : {&metrics_, &events_}) {
    RUBATO_ASSIGN_OR_RETURN(const Found here, read(*stream, log));
    if (here == Found::kRestarted) {
      log = {};
      restart();
      return here;
    }
    if (here == Found::kRecords) found = here;
  }
  return found;
}

StatusOr<RunTail::Found> RunTail::read(Stream& stream, RecordLog& log) {
  if (!files_.exists(stream.path)) {
    return stream.bytes == 0 ? Found::kNothing : Found::kRestarted;
  }
  RUBATO_ASSIGN_OR_RETURN(const int64_t size, files_.file_size(stream.path));
  if (size < stream.bytes) return Found::kRestarted;
  if (size == stream.bytes) return Found::kNothing;
  const auto known = static_cast<int64_t>(stream.last.size());
  RUBATO_ASSIGN_OR_RETURN(
      const std::string read,
      files_.read_range(stream.path, stream.bytes - known, known + kBytesAtATime));
  if (!read.starts_with(stream.last)) return Found::kRestarted;
  const std::string_view fresh = std::string_view(read).substr(stream.last.size());
  const size_t end = fresh.rfind('\n');
  if (end == std::string_view::npos) {
    if (static_cast<int64_t>(fresh.size()) < kBytesAtATime) return Found::kNothing;
    return absl::InvalidArgumentError(cat("[run] ", stream.path, " from byte ", stream.bytes,
                                          ": got a line of more than ", kBytesAtATime,
                                          " bytes, want a record"));
  }
  const std::string_view lines = fresh.substr(0, end + 1);
  RUBATO_RETURN_IF_ERROR(read_records(cat(stream.path, " from byte ", stream.bytes), lines, log));
  stream.bytes += static_cast<int64_t>(lines.size());
  const std::string_view all = std::string_view(read).substr(0, stream.last.size() + lines.size());
  stream.last =
      std::string(all.substr(all.size() - std::min<size_t>(all.size(), kRememberedBytes)));
  return Found::kRecords;
}

void RunTail::restart() {
  for (Stream* stream : {&metrics_, &events_}) {
    stream->bytes = 0;
    stream->last.clear();
  }
}

}  // namespace rubato

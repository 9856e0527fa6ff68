// libFuzzer over what a run leaves behind: the first byte says whether the rest is metrics.jsonl,
// events.jsonl or summary.json of a run directory. Errors name the file; a value that was read is
// the value that is written again; a whole log that was written reads as the same log.
#include <string>

#include "tests/fuzz/fuzzing.h"
#include "tests/fuzz/json_values.h"
#include <nlohmann/json.hpp>

#include "rubato/metrics/run_data.h"
#include "rubato/metrics/sink.h"
#include "rubato/store/memory_file_system.h"

namespace rubato {
namespace {

using nlohmann::ordered_json;

std::string to_lines(const RecordLog& log) {
  std::string text;
  const auto add = [&](const auto& records) {
    for (const auto& record : records) text += to_line(record) + "\n";
  };
  add(log.evals);
  add(log.updates);
  add(log.spans);
  add(log.events);
  return text;
}

void check_log(const RecordLog& log) {
  const std::string text = to_lines(log);
  RecordLog again;
  const Status status = read_records("again", text, again);
  RUBATO_CHECK(status.ok(), "records that were written do not read: ", status.message());
  RUBATO_CHECK(to_lines(again) == text, "records changed");
}

/// Every line that is a record by itself keeps its values.
void check_lines(std::string_view text) {
  for (size_t end; (end = text.find('\n')) != text.npos; text.remove_prefix(end + 1)) {
    const std::string line(text.substr(0, end + 1));
    RecordLog log;
    if (!read_records("line", line, log).ok()) continue;
    check_values_kept(ordered_json::parse(line), ordered_json::parse(to_lines(log)),
                      {"perplexity"});
  }
}

void check_summary(std::string_view text, const RunSummary& summary) {
  check_values_kept(ordered_json::parse(text), to_json(summary),
                    {"val_perplexity", "worker_wait_share"});
  const auto again = summary_from_json(to_line(summary));
  RUBATO_CHECK(again.ok(), "a summary that was written does not read: ", again.status().message());
  RUBATO_CHECK(to_line(*again) == to_line(summary), "the summary changed");
}

void put(MemoryFileSystem& files, const std::string& path, std::string_view bytes) {
  RUBATO_CHECK(files.replace_file(path, bytes).ok(), "a file in memory");
}

}  // namespace
}  // namespace rubato

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace rubato;
  if (size == 0) return 0;
  const std::string_view text = as_text(data + 1, size - 1);
  MemoryFileSystem files;
  RUBATO_CHECK(files.make_directories("/run").ok(), "a directory in memory");
  const std::string path = data[0] % 3 == 0   ? metrics_path("/run")
                           : data[0] % 3 == 1 ? events_path("/run")
                                              : summary_path("/run");
  put(files, metrics_path("/run"), "");
  put(files, path, text);

  const auto run = load_run(files, "/run");
  if (path != summary_path("/run")) check_lines(text);
  if (!run.ok()) {
    check_error(run.status(), path);
    return 0;
  }
  check_log(run->log);
  if (path == summary_path("/run")) check_summary(text, run->summary);
  return 0;
}

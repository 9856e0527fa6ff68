#include "rubato/metrics/sink.h"

#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/store/temporary_directory.h"
#include <gtest/gtest.h>

#include "rubato/store/memory_file_system.h"
#include "rubato/store/posix_file_system.h"

namespace rubato {
namespace {

FileSystem& disk() {
  static PosixFileSystem files;
  return files;
}

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

UpdateRecord update(int64_t task) {
  UpdateRecord record;
  record.task = TaskId(task);
  record.verdict = "applied";
  return record;
}

EvalRecord eval(int64_t steps) {
  EvalRecord record;
  record.local_steps = steps;
  record.method = "dn-dylu";
  return record;
}

TEST(JsonlSink, WritesAtEvaluationsAndReadsBack) {
  const TemporaryDirectory temporary;
  const std::string& directory = temporary.path();
  auto sink = JsonlSink::open(disk(), directory);
  ASSERT_TRUE(sink.ok()) << sink.status();
  sink->on_update(update(1));
  EXPECT_EQ(read_file(metrics_path(directory)), "");  // buffered
  sink->on_span({WorkerId(1), TaskId(1), ShardId(0), 0, 5, SpanKind::kWait});
  sink->on_eval(eval(10));
  EXPECT_EQ(read_file(metrics_path(directory)),
            to_line(update(1)) + "\n" + to_line(eval(10)) + "\n");
  sink->on_event({3, "done"});
  ASSERT_TRUE(sink->flush().ok());
  RecordLog log;
  ASSERT_TRUE(read_records("events.jsonl", read_file(events_path(directory)), log).ok());
  EXPECT_EQ(log.spans.size(), 1u);
  EXPECT_EQ(log.events.size(), 1u);
}

TEST(JsonlSink, ResumedRunContinuesFromTheNotedOffset) {
  const TemporaryDirectory temporary;
  const std::string& directory = temporary.path();
  JsonlOffset noted;
  {
    auto sink = JsonlSink::open(disk(), directory);
    ASSERT_TRUE(sink.ok());
    sink->on_update(update(1));
    sink->on_event({1, "checkpoint"});
    auto offset = sink->offset();
    ASSERT_TRUE(offset.ok());
    noted = *offset;
    sink->on_update(update(2));
    sink->on_event({2, "lost"});
  }
  const std::string uninterrupted = read_file(metrics_path(directory));
  auto sink = JsonlSink::open(disk(), directory);
  ASSERT_TRUE(sink.ok());
  ASSERT_TRUE(sink->truncate_to(noted).ok());
  EXPECT_EQ(read_file(metrics_path(directory)), to_line(update(1)) + "\n");
  EXPECT_EQ(read_file(events_path(directory)), to_line(EventRecord{1, "checkpoint"}) + "\n");
  sink->on_update(update(2));
  ASSERT_TRUE(sink->flush().ok());
  EXPECT_EQ(read_file(metrics_path(directory)), uninterrupted);
}

// A cluster's updates come out of its journal again; its evaluations would not.
TEST(JsonlSink, EvaluationsBehindTheNotedOffsetAreKept) {
  const TemporaryDirectory temporary;
  const std::string& directory = temporary.path();
  EvalRecord early, late;
  early.local_steps = 1;
  late.local_steps = 3;
  JsonlOffset noted;
  {
    auto sink = JsonlSink::open(disk(), directory);
    ASSERT_TRUE(sink.ok());
    sink->on_eval(early);
    sink->on_update(update(1));
    auto offset = sink->offset();
    ASSERT_TRUE(offset.ok());
    noted = *offset;
    sink->on_update(update(2));
    sink->on_eval(late);
    sink->on_event({2, "lost"});
  }
  const std::string path = metrics_path(directory);
  const std::string want = to_line(early) + "\n" + to_line(update(1)) + "\n" + to_line(late) + "\n";
  // The last line is torn.
  ASSERT_TRUE(disk().replace_file(path, read_file(path) + to_line(late).substr(0, 9)).ok());
  const auto end = keep_evaluations(disk(), directory, noted);
  ASSERT_TRUE(end.ok()) << end.status();
  EXPECT_EQ(read_file(path), want);
  EXPECT_EQ(end->metrics_bytes, static_cast<int64_t>(want.size()));
  EXPECT_EQ(end->events_bytes, noted.events_bytes);
  // Once more after another crash: nothing twice.
  ASSERT_TRUE(keep_evaluations(disk(), directory, noted).ok());
  EXPECT_EQ(read_file(path), want);
}

TEST(JsonlSink, ARunWithoutRecordsKeepsNoEvaluations) {
  const TemporaryDirectory temporary;
  const auto end = keep_evaluations(disk(), temporary.path(), {});
  ASSERT_TRUE(end.ok());
  EXPECT_EQ(end->metrics_bytes, 0);
}

TEST(JsonlSink, FileShorterThanTheCheckpointSaysIsDataLoss) {
  const TemporaryDirectory temporary;
  auto sink = JsonlSink::open(disk(), temporary.path());
  ASSERT_TRUE(sink.ok());
  EXPECT_EQ(sink->truncate_to({100, 0}).code(), absl::StatusCode::kDataLoss);
}

TEST(JsonlSink, MissingDirectoryIsAnError) {
  const auto sink = JsonlSink::open(disk(), "/nowhere/rubato_no_such_directory");
  ASSERT_FALSE(sink.ok());
  EXPECT_NE(std::string(sink.status().message()).find("No such file or directory"),
            std::string::npos);
}

TEST(JsonlSink, FullDiskIsReportedAtEveryFlushAndLeavesOneTornLineAtMost) {
  const std::string one_line = to_line(update(1)) + "\n";
  for (int64_t room = 0; room < static_cast<int64_t>(2 * one_line.size()); room += 7) {
    MemoryFileSystem files;
    ASSERT_TRUE(files.make_directories("/run").ok());
    auto sink = JsonlSink::open(files, "/run");
    ASSERT_TRUE(sink.ok()) << sink.status();
    files.fill_after(room);
    sink->on_update(update(1));
    sink->on_update(update(2));
    EXPECT_EQ(sink->flush().code(), absl::StatusCode::kResourceExhausted);
    files.fill_after(1 << 20);  // room again: nothing may follow the torn line
    sink->on_update(update(3));
    EXPECT_EQ(sink->flush().code(), absl::StatusCode::kResourceExhausted);
    RecordLog log;
    const auto text = files.read_file(metrics_path("/run"));
    ASSERT_TRUE(text.ok());
    EXPECT_TRUE(read_records("log", *text, log).ok()) << *text;
    EXPECT_LE(log.updates.size(), 1u);
  }
}

TEST(JsonlSink, NotedOffsetSurvivesAPowerCut) {
  MemoryFileSystem files;
  ASSERT_TRUE(files.make_directories("/run").ok());
  JsonlOffset noted;
  {
    auto sink = JsonlSink::open(files, "/run");
    ASSERT_TRUE(sink.ok());
    sink->on_update(update(1));
    sink->on_span({});
    const auto offset = sink->offset();
    ASSERT_TRUE(offset.ok()) << offset.status();
    noted = *offset;
    sink->on_update(update(2));
    ASSERT_TRUE(sink->flush().ok());
    files.cut_power_after(0);
  }
  files.restart(CrashKeeps::kNothing);
  auto sink = JsonlSink::open(files, "/run");
  ASSERT_TRUE(sink.ok()) << sink.status();
  ASSERT_TRUE(sink->truncate_to(noted).ok());
  const auto text = files.read_file(metrics_path("/run"));
  ASSERT_TRUE(text.ok());
  EXPECT_EQ(*text, to_line(update(1)) + "\n");
}

}  // namespace
}  // namespace rubato

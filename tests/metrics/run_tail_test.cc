#include "rubato/metrics/run_tail.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rubato/metrics/sink.h"
#include "rubato/store/memory_file_system.h"

namespace rubato {
namespace {

using Found = RunTail::Found;
using ::testing::HasSubstr;

EvalRecord eval_at(int64_t steps) {
  EvalRecord record;
  record.local_steps = steps;
  record.loss_nats = 3.5;
  return record;
}

class RunTailTest : public ::testing::Test {
 protected:
  RunTailTest() { EXPECT_TRUE(files_.make_directories("run").ok()); }
  JsonlSink sink() { return *JsonlSink::open(files_, "run"); }
  // Everything that there is until nothing is left.
  RecordLog rest(RunTail& tail) {
    RecordLog log;
    for (;;) {
      const auto found = tail.read(log);
      EXPECT_TRUE(found.ok()) << found.status();
      if (!found.ok() || *found != Found::kRecords) return log;
    }
  }
  MemoryFileSystem files_;
};

TEST_F(RunTailTest, ReadsWhatCameSinceTheLastTime) {
  RunTail tail(files_, "run");
  RecordLog log;
  EXPECT_EQ(*tail.read(log), Found::kNothing);  // not begun yet
  JsonlSink records = sink();
  records.on_eval(eval_at(1));
  records.on_span({WorkerId(2), TaskId(0), ShardId(0), 0, 5, SpanKind::kTrain});
  ASSERT_TRUE(records.flush().ok());
  log = rest(tail);
  EXPECT_EQ(log.evals.size(), 1u);
  EXPECT_EQ(log.spans.size(), 1u);
  records.on_eval(eval_at(2));
  log = rest(tail);
  ASSERT_EQ(log.evals.size(), 1u);
  EXPECT_EQ(log.evals[0].local_steps, 2);
  EXPECT_TRUE(log.spans.empty());
}

TEST_F(RunTailTest, ALongRunComesInParts) {
  JsonlSink records = sink();
  for (int64_t i = 0; i < 3000; ++i) records.on_eval(eval_at(i));
  RunTail tail(files_, "run");
  RecordLog log;
  ASSERT_EQ(*tail.read(log), Found::kRecords);
  EXPECT_LT(log.evals.size(), 2000u);
  const RecordLog more = rest(tail);
  ASSERT_EQ(log.evals.size() + more.evals.size(), 3000u);
  EXPECT_EQ(more.evals.back().local_steps, 2999);
}

TEST_F(RunTailTest, ATornLineIsReadOnceItIsWhole) {
  const std::string line = to_line(eval_at(7)) + "\n";
  RunTail tail(files_, "run");
  auto file = *files_.open_append("run/metrics.jsonl");
  ASSERT_TRUE(file->append(line + line.substr(0, 20)).ok());
  EXPECT_EQ(rest(tail).evals.size(), 1u);
  ASSERT_TRUE(file->append(line.substr(20)).ok());
  EXPECT_EQ(rest(tail).evals.size(), 1u);
}

TEST_F(RunTailTest, ARunThatWasCutBackBeginsAnew) {
  JsonlSink records = sink();
  records.on_eval(eval_at(1));
  const JsonlOffset before = *records.offset();
  records.on_eval(eval_at(2));
  RunTail tail(files_, "run");
  EXPECT_EQ(rest(tail).evals.size(), 2u);
  ASSERT_TRUE(records.truncate_to(before).ok());
  RecordLog log;
  EXPECT_EQ(*tail.read(log), Found::kRestarted);
  EXPECT_EQ(rest(tail).evals.size(), 1u);
}

TEST_F(RunTailTest, SoDoesOneThatWasCutBackAndIsLongerByNow) {
  JsonlSink records = sink();
  records.on_eval(eval_at(1));
  const JsonlOffset before = *records.offset();
  records.on_eval(eval_at(2));
  RunTail tail(files_, "run");
  EXPECT_EQ(rest(tail).evals.size(), 2u);
  ASSERT_TRUE(records.truncate_to(before).ok());
  for (const int64_t steps : {3, 4, 5}) records.on_eval(eval_at(steps));
  RecordLog log;
  EXPECT_EQ(*tail.read(log), Found::kRestarted);
  EXPECT_TRUE(log.evals.empty());
  log = rest(tail);
  ASSERT_EQ(log.evals.size(), 4u);
  EXPECT_EQ(log.evals[1].local_steps, 3);
}

TEST_F(RunTailTest, WhatIsNoRecordIsAnErrorOfOneLine) {
  RunTail tail(files_, "run");
  ASSERT_TRUE(files_.replace_file("run/metrics.jsonl", "{\"kind\":\"ev\nil\"}\n").ok());
  RecordLog log;
  const auto found = tail.read(log);
  EXPECT_TRUE(absl::IsInvalidArgument(found.status()));
  EXPECT_THAT(std::string(found.status().message()), HasSubstr("run/metrics.jsonl from byte 0"));
  ASSERT_TRUE(files_.replace_file("run/metrics.jsonl", std::string(300'000, 'x')).ok());
  RunTail second(files_, "run");
  EXPECT_TRUE(absl::IsInvalidArgument(second.read(log).status()));
}

}  // namespace
}  // namespace rubato

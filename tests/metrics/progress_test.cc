#include "rubato/metrics/progress.h"

#include <limits>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rubato {
namespace {

using testing::HasSubstr;
using testing::Not;

ProgressSnapshot sample() {
  ProgressSnapshot s;
  s.method = "dn-dylu";
  s.steps_done = 1234;
  s.steps_total = 8000;
  s.loss_nats = 3.41234;
  s.bits_per_byte = 1.9304;
  s.lr = 3.8e-4;
  s.tokens_per_s = 41234;
  s.share_of_peak = 0.68;
  s.staleness = 2.94;
  s.eta_s = 185;
  return s;
}

TEST(ProgressLine, SaysEverythingInOneLine) {
  EXPECT_EQ(
      progress_line(sample()),
      "dn-dylu 1,234/8,000 15% loss 3.412 val 1.930 bpb lr 3.8e-4 41.2k tok/s 68% peak stale 2.9 "
      "ETA 3:05");
  ProgressSnapshot longer = sample();
  longer.method = "async-nesterov";
  longer.steps_done = 12'345;
  longer.steps_total = 64'000;
  EXPECT_EQ(progress_line(longer),
            "async-nesterov 12,345/64,000 loss 3.412 val 1.930 bpb lr 3.8e-4 41.2k tok/s stale 2.9 "
            "ETA 3:05");
}

TEST(ProgressLine, LeavesOutWhatIsUnknown) {
  ProgressSnapshot s = sample();
  s.share_of_peak.reset();
  s.bits_per_byte = 0;
  s.eta_s = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(progress_line(s),
            "dn-dylu 1,234/8,000 15% loss 3.412 lr 3.8e-4 41.2k tok/s stale 2.9 ETA -");
  s.phase = RunPhase::kPretrain;
  EXPECT_EQ(progress_line(s), "pretrain 1,234/8,000 15% loss 3.412 lr 3.8e-4 41.2k tok/s ETA -");
}

TEST(ProgressLine, NeverExceedsItsColumnsAndDropsTheLeastImportantFirst) {
  ProgressSnapshot s = sample();
  s.method = "async-nesterov";
  s.steps_done = 123'456'789;
  s.steps_total = 999'999'999;
  s.eta_s = 400'000;
  const std::string line = progress_line(s);
  EXPECT_LE(line.size(), kProgressColumns);
  EXPECT_THAT(line, Not(HasSubstr("peak")));
  EXPECT_THAT(line, HasSubstr("ETA 111:06:40"));
  s.method = std::string(300, 'x');
  EXPECT_EQ(progress_line(s).size(), kProgressColumns);
}

TEST(ProgressPrinter, TerminalRewritesOneLineAtMostFiveTimesASecond) {
  std::ostringstream out;
  Nanos now = 0;
  {
    ProgressPrinter printer(out, true, [&] { return now; });
    for (int i = 0; i <= 100; ++i) {  // one second in steps of 10 ms
      now = i * 10'000'000;
      printer.update(sample());
    }
  }
  const std::string text = out.str();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\r'), 5);  // 6 lines: at 0, 0.2, .., 1 s
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
  EXPECT_EQ(text.back(), '\n');
}

TEST(ProgressPrinter, NoteStaysAboveTheLiveLine) {
  std::ostringstream out;
  Nanos now = 0;
  ProgressPrinter printer(out, true, [&] { return now; });
  printer.update(sample());
  printer.note("worker 2 lost");
  EXPECT_THAT(out.str(), testing::EndsWith("\r\x1b[Kworker 2 lost\n"));
}

TEST(ProgressPrinter, EvaluationsAreThinnedButTheLastOneIsSeen) {
  std::ostringstream out;
  Nanos now = 0;
  ProgressPrinter printer(out, false, [&] { return now; });
  for (int second = 0; second <= 25; ++second) {
    now = second * kNanosPerSecond;
    printer.evaluation(cat("evaluation ", second));
  }
  printer.note("next method");
  printer.evaluation("evaluation 26");
  printer.finish();
  EXPECT_EQ(out.str(),
            "evaluation 0\nevaluation 10\nevaluation 20\nevaluation 25\nnext method\n"
            "evaluation 26\n");
}

TEST(ProgressPrinter, PipeGetsPlainLinesAtIntervalsAndTheLastState) {
  std::ostringstream out;
  Nanos now = 0;
  ProgressPrinter printer(out, false, [&] { return now; });
  ProgressSnapshot s = sample();
  for (int second = 0; second <= 25; ++second) {
    now = second * kNanosPerSecond;
    s.steps_done = second;
    printer.update(s);
  }
  printer.finish();
  printer.finish();  // nothing more to say
  const std::string text = out.str();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 4);  // 0, 10, 20 s and the end
  EXPECT_THAT(text, Not(HasSubstr("\r")));
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
  EXPECT_THAT(text, HasSubstr("dn-dylu 25/8,000"));
}

TEST(EvalLine, ShowsWhatThereIs) {
  EvalRecord record;
  record.local_steps = 8000;
  record.loss_nats = 3.412;
  EXPECT_EQ(eval_line(record), "  eval  step 8,000  loss 3.4120  perplexity 30.33");
  record.bits_per_byte = 1.93;
  record.accuracy = 0.312;
  EXPECT_EQ(eval_line(record),
            "  eval  step 8,000  loss 3.4120  perplexity 30.33  bits/byte 1.930  accuracy 31.2 %");
}

}  // namespace
}  // namespace rubato

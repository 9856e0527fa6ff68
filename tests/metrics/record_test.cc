#include "rubato/metrics/record.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "rubato/base/rng.h"

namespace rubato {
namespace {

EvalRecord sample_eval() {
  return {RunPhase::kPretrain, "dn-dylu", 1200, 2457600, 37,  Version(37),
          66'600'000'001,      123456789, 3.25, 1.875,   0.25};
}

UpdateRecord sample_update() {
  return {
      5'000'000'000, WorkerId(3), 2,    TaskId(17), ShardId(2),      8,     16384, 3.5,  4e-4, 3,
      Version(18),   0.1,         4096, 64,         "rejected:late", -0.25, 0.5,   0.75, 1.875};
}

RunSummary sample_summary() {
  RunSummary s;
  s.build_id = "0.1.0-abc";
  s.data_digest = "d";
  s.recipe_digest = "r";
  s.method = "sync-diloco";
  s.seed = std::numeric_limits<uint64_t>::max();
  s.finished = false;
  s.failure = "diverged";
  s.workers = 2;
  s.local_steps = 1;
  s.tokens = 2;
  s.server_updates = 3;
  s.arrivals = 4;
  s.discarded = 5;
  s.staleness_counts = {2, 0, 1};
  s.delta_norm_mean = 0.5;
  s.step_norm_mean = 0.25;
  s.momentum_cosine_mean = -0.125;
  s.aligned_gain_mean = 1.75;
  s.rejected = 6;
  s.bytes_down = 5'000'000'000;
  s.bytes_up = 7;
  s.val_loss_nats = 3.7;
  s.val_bits_per_byte = 1.6;
  s.val_accuracy = 0.3;
  s.final_train_loss_nats = 3.6;
  s.virtual_time_s = 0.1;
  s.wall_time_s = 7;
  s.train_tokens_per_s = 40000;
  s.staleness_mean = 2.5;
  s.staleness_max = 9;
  s.time_to_sync_loss_s = 12.5;
  s.utilisation = 0.9;
  s.params_digest = "p";
  s.per_worker = {{1, 50, 100, 29.0, 1.0}, {2, 8, 16, 26.5, 0.0}};
  return s;
}

TEST(Record, EvalSurvivesARoundTripAndCarriesPerplexity) {
  const EvalRecord record = sample_eval();
  const std::string line = to_line(record);
  const auto object = nlohmann::json::parse(line);
  EXPECT_EQ(object["kind"], "eval");
  EXPECT_EQ(object["phase"], "pretrain");
  EXPECT_DOUBLE_EQ(object["perplexity"].get<double>(), std::exp(3.25));
  RecordLog log;
  ASSERT_TRUE(read_records("test", line + "\n", log).ok());
  ASSERT_EQ(log.evals.size(), 1u);
  EXPECT_EQ(to_line(log.evals[0]), line);
  EXPECT_EQ(log.evals[0].virtual_time_ns, record.virtual_time_ns);
  EXPECT_EQ(log.evals[0].version, record.version);
}

TEST(Record, EveryKindSurvivesARoundTrip) {
  const TaskSpan span{WorkerId(1), TaskId(2), ShardId(3), 10, 20, SpanKind::kLost};
  const EventRecord event{7, "worker \"b\" joined\nlate \xc3\xa9"};
  const std::string text = to_line(sample_update()) + "\n" + to_line(span) + "\n" + to_line(event) +
                           "\n" + to_line(sample_eval()) + "\n";
  RecordLog log;
  ASSERT_TRUE(read_records("test", text, log).ok());
  ASSERT_EQ(log.updates.size(), 1u);
  ASSERT_EQ(log.spans.size(), 1u);
  ASSERT_EQ(log.events.size(), 1u);
  EXPECT_EQ(to_line(log.updates[0]), to_line(sample_update()));
  EXPECT_EQ(log.updates[0].delta_norm, 0.1);
  EXPECT_EQ(to_line(log.spans[0]), to_line(span));
  EXPECT_EQ(log.spans[0].kind, SpanKind::kLost);
  EXPECT_EQ(log.events[0].text, event.text);
}

TEST(Record, SummaryRoundTripsAndKeepsNullApartFromZero) {
  RunSummary summary = sample_summary();
  auto back = summary_from_json(to_line(summary));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(to_line(*back), to_line(summary));
  EXPECT_EQ(back->seed, summary.seed);
  ASSERT_EQ(back->per_worker.size(), 2u);
  EXPECT_DOUBLE_EQ(back->per_worker[0].wait_share(), 1.0 / 30);
  summary.time_to_sync_loss_s.reset();
  back = summary_from_json(to_line(summary));
  ASSERT_TRUE(back.ok());
  EXPECT_FALSE(back->time_to_sync_loss_s.has_value());
  EXPECT_TRUE(nlohmann::json::parse(to_line(summary))["time_to_sync_loss_s"].is_null());
}

TEST(Record, SummaryHasEveryKeyOfTheDesign) {
  const auto object = nlohmann::json::parse(to_line(sample_summary()));
  for (const char* key :
       {"schema_version", "build_id", "data_digest", "recipe_digest", "method", "seed",
        "local_steps", "tokens", "server_updates", "val_loss_nats", "val_perplexity",
        "virtual_time_s", "wall_time_s", "train_tokens_per_s", "staleness_mean", "staleness_max",
        "time_to_sync_loss_s", "params_digest"}) {
    EXPECT_TRUE(object.contains(key)) << key;
  }
}

TEST(Record, NumbersThatAreNotFiniteBecomeNullAndNaN) {
  EvalRecord record = sample_eval();
  record.loss_nats = std::numeric_limits<double>::infinity();
  RecordLog log;
  ASSERT_TRUE(read_records("test", to_line(record), log).ok());
  ASSERT_EQ(log.evals.size(), 1u);
  EXPECT_TRUE(std::isnan(log.evals[0].loss_nats));
}

TEST(Record, TornLastLineIsLeftOutAtEveryLength) {
  const std::string first = to_line(sample_eval()) + "\n";
  const std::string second = to_line(sample_update());
  for (size_t n = 0; n < second.size(); ++n) {
    RecordLog log;
    ASSERT_TRUE(read_records("test", first + second.substr(0, n), log).ok()) << n;
    EXPECT_EQ(log.evals.size(), 1u);
    EXPECT_EQ(log.updates.size(), 0u) << n;
  }
  RecordLog log;  // complete but for its newline: nothing is torn
  ASSERT_TRUE(read_records("test", first + second, log).ok());
  EXPECT_EQ(log.updates.size(), 1u);
}

TEST(Record, BadLineIsAnErrorWithItsNumber) {
  const std::string good = to_line(sample_eval()) + "\n";
  const auto message_of = [&](const std::string& bad) {
    RecordLog log;
    return std::string(read_records("metrics.jsonl", good + good + bad + "\n", log).message());
  };
  EXPECT_EQ(message_of("{\"kind\":"), "[metrics.jsonl] line 3: got no JSON object");
  EXPECT_EQ(message_of("{\"kind\":\"evil\"}"),
            "[metrics.jsonl] line 3: kind: got \"evil\", want one of eval, update, span, event");
  EXPECT_EQ(message_of("{\"kind\":\"event\",\"text\":\"x\"}"),
            "[metrics.jsonl] line 3: no key \"virtual_time_ns\", want an integer");
  EXPECT_EQ(message_of("{\"kind\":\"event\",\"virtual_time_ns\":1,\"text\":2}"),
            "[metrics.jsonl] line 3: text: got number, want words");
  EXPECT_EQ(message_of(""), "[metrics.jsonl] line 3: got no JSON object");
}

TEST(Record, SummaryOfANewerProgramIsRefusedByName) {
  RunSummary summary = sample_summary();
  summary.schema_version = 2;
  EXPECT_EQ(summary_from_json(to_line(summary)).status().message(),
            "[summary] schema_version: got 2, want at most 1; a newer rubato wrote this run");
}

TEST(Record, UnknownKeysOfANewerProgramAreLeftAlone) {
  auto object = nlohmann::json::parse(to_line(sample_eval()));
  object["brand_new_s"] = 1;
  RecordLog log;
  EXPECT_TRUE(read_records("test", object.dump() + "\n", log).ok());
  EXPECT_EQ(log.evals.size(), 1u);
}

TEST(Record, DamagedLogsAreAnErrorOrRecordsAndNothingElse) {
  const std::string good = to_line(sample_eval()) + "\n" + to_line(sample_update()) + "\n" +
                           to_line(TaskSpan()) + "\n" + to_line(EventRecord{1, "x"}) + "\n";
  Rng rng(3, RngStream::kTest);
  int errors = 0;
  for (int i = 0; i < 5000; ++i) {
    std::string text = good;
    for (uint64_t edits = 1 + rng.below(3); edits > 0; --edits) {
      const size_t at = rng.below(text.size());
      switch (rng.below(3)) {
        case 0:
          text[at] = static_cast<char>(rng.below(256));
          break;
        case 1:
          text.erase(at, 1 + rng.below(20));
          break;
        default:
          text.insert(at, text.substr(rng.below(text.size()), rng.below(30)));
      }
      if (text.empty()) text = "x";
    }
    RecordLog log;
    const Status status = read_records("log", text, log);
    errors += status.ok() ? 0 : 1;
    EXPECT_TRUE(status.ok() || status.message().substr(0, 11) == "[log] line ") << status;
    EXPECT_LE(log.evals.size() + log.updates.size() + log.spans.size() + log.events.size(), 8u);
  }
  EXPECT_GT(errors, 3000);
}

TEST(Record, CountsThatWouldBecomeHugeArraysAreRefused) {
  UpdateRecord record = sample_update();
  record.staleness = int64_t{1} << 60;
  RecordLog log;
  EXPECT_EQ(read_records("log", to_line(record) + "\n", log).message(),
            "[log] line 1: staleness: got 1152921504606846976, want 0 .. 1000000");
}

TEST(Record, IntegersThatDoNotFitAreRefused) {
  auto span = to_json(TaskSpan());
  span["task"] = uint64_t{1} << 63;
  RecordLog log;
  EXPECT_EQ(read_records("log", span.dump() + "\n", log).message(),
            "[log] line 1: task: got 9223372036854775808, want an integer of 64 bits");
  auto summary = to_json(sample_summary());
  summary["seed"] = -1;
  EXPECT_EQ(summary_from_json(summary.dump()).status().message(),
            "[summary]: seed: got -1, want an integer in 0 .. 2^64 - 1");
  summary["seed"] = 1;
  summary["worker_steps"][1] = uint64_t{1} << 63;
  EXPECT_EQ(summary_from_json(summary.dump()).status().message(),
            "[summary]: worker_steps[1]: got 9223372036854775808, want an integer of 64 bits");
}

TEST(Record, ErrorsAreOneLineWhateverTheyQuote) {
  RecordLog log;
  EXPECT_EQ(read_records("log", "{\"kind\":\"a\\nb\"}\n", log).message(),
            "[log] line 1: kind: got \"a?b\", want one of eval, update, span, event");
}

TEST(Record, KeysThatCameLaterMayBeAbsent) {
  auto update = to_json(sample_update());
  update.erase("workers");
  RecordLog log;
  ASSERT_TRUE(read_records("log", update.dump() + "\n", log).ok());
  EXPECT_EQ(log.updates[0].workers, 1);
  auto summary = to_json(sample_summary());
  summary.erase("failure");
  const auto read = summary_from_json(summary.dump());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->failure, "");
}

TEST(Record, VerdictWordIgnoresTheReason) {
  UpdateRecord record;
  record.verdict = "rejected:not finite";
  EXPECT_TRUE(record.has_verdict("rejected"));
  EXPECT_FALSE(record.has_verdict("applied"));
}

}  // namespace
}  // namespace rubato

// Messages to types and back: what was written reads as the same, and every field that cannot be is
// refused by name.
#include "rubato/rpc/wire.h"

#include <cmath>
#include <functional>
#include <limits>

#include "tests/rpc/refusals.h"
#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace rubato {
namespace {

using Code = absl::StatusCode;
constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
constexpr int64_t kLeast = std::numeric_limits<int64_t>::min();

// ---- protocol

TEST(Wire, TheLargestCommonVersionIsSpoken) {
  v1::ProtocolRange range;
  range.set_first(1);
  range.set_last(7);
  EXPECT_EQ(*common_protocol(range), 1);
  range.set_first(-7);
  EXPECT_EQ(*common_protocol(range), 1);
  for (const auto& [first, last] : {std::pair{0, 0}, {2, 9}, {-3, -1}, {1, 0}, {7, 1}}) {
    range.set_first(first);
    range.set_last(last);
    expect_refusal(common_protocol(range).status(), Code::kFailedPrecondition,
                   cat("[protocol] got versions ", first, " to ", last, ", want one of 1 to 1"));
  }
}

// ---- tasks

constexpr int64_t kParams = 48;
const TaskBounds kBounds{.num_params = kParams, .shard_sequences = {100, 50}, .batch_sequences = 2};

Task sample_task() {
  Task task;
  task.id = TaskId(12);
  task.worker = WorkerId(3);
  task.base = Version(7);
  task.shard = ShardId(1);
  task.ranges = {{0, 40, 10, 0}, {1, 0, 6, 0}};
  task.steps = 8;
  task.lr_first = 5;
  task.lr_total = 100;
  return task;
}

TEST(Wire, ATaskComesBackAsItWasSent) {
  for (const int64_t rewarm : {int64_t{-1}, int64_t{0}, int64_t{9}}) {
    Task task = sample_task();
    task.rewarm_first = rewarm;
    const auto back = task_from_proto(to_proto(task, kParams), WorkerId(3), kBounds);
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(back->id, task.id);
    EXPECT_EQ(back->worker, task.worker);
    EXPECT_EQ(back->base, task.base);
    EXPECT_EQ(back->shard, task.shard);
    EXPECT_EQ(back->ranges, task.ranges);
    EXPECT_EQ(back->steps, task.steps);
    EXPECT_EQ(back->lr_first, task.lr_first);
    EXPECT_EQ(back->lr_total, task.lr_total);
    EXPECT_EQ(back->rewarm_first, rewarm);
  }
}

TEST(Wire, RefusesATaskThatIsNotOneOfThisRun) {
  using T = v1::Task;
  struct Case {
    const char* name;
    std::function<void(T&)> spoil;
    std::string words;
  };
  const Case cases[] = {
      {"id", [](T& t) { t.set_id(-1); }, "got the id -1"},
      {"no kind", [](T& t) { t.clear_kind(); }, "got kind 0, want 1: train"},
      {"a kind to come", [](T& t) { t.set_kind(static_cast<T::Kind>(9)); }, "got kind 9"},
      {"merge", [](T& t) { t.set_merge(static_cast<T::Merge>(2)); }, "got merge 2"},
      {"no fragment", [](T& t) { t.clear_fragments(); }, "got fragments 0, want 1"},
      {"two fragments", [](T& t) { *t.add_fragments() = t.fragments(0); }, "got fragments 2"},
      {"a part", [](T& t) { t.mutable_fragments(0)->set_first(1); }, "want 48 floats"},
      {"more", [](T& t) { t.mutable_fragments(0)->set_count(kMost); }, "want 48 floats"},
      {"base", [](T& t) { t.mutable_fragments(0)->set_base_version(-2); }, "base version -2"},
      {"shard", [](T& t) { t.set_shard(2); }, "got shard 2, want one of 2"},
      {"negative shard", [](T& t) { t.set_shard(kLeast); }, "want one of 2"},
      {"no steps", [](T& t) { t.set_steps(0); }, "got steps 0"},
      {"other steps", [](T& t) { t.set_steps(9); }, "got data of sequences 16, want 9 steps of 2"},
      {"the most steps", [](T& t) { t.set_steps(kMost); }, "got data of sequences 16"},
      {"no data", [](T& t) { t.clear_ranges(); }, "got data of sequences 0"},
      {"odd data", [](T& t) { t.mutable_ranges(0)->set_count(9); }, "got data of sequences 15"},
      {"rate", [](T& t) { t.set_lr_first(-1); }, "a rate's position -1"},
      {"a rate that overflows", [](T& t) { t.set_lr_first(kMost); }, "a rate's position"},
      {"no target", [](T& t) { t.set_lr_total(0); }, "a rate's position 5"},
      {"a ramp that overflows", [](T& t) { t.set_rewarm_first(kMost); }, "a ramp behind step"},
      {"epoch", [](T& t) { t.mutable_ranges(0)->set_epoch(-1); }, "a range of 10"},
      {"first", [](T& t) { t.mutable_ranges(0)->set_first(-1); }, "a range of 10"},
      {"count", [](T& t) { t.mutable_ranges(0)->set_count(0); }, "a range of 0"},
      {"beyond the shard", [](T& t) { t.mutable_ranges(0)->set_first(41); },
       "a range that begins at 41, want one within the shard's 50 sequences"},
      {"far beyond", [](T& t) { t.mutable_ranges(0)->set_first(kMost); }, "the shard's 50"},
      {"more than the shard", [](T& t) { t.mutable_ranges(0)->set_count(kMost); }, "shard's 50"}};
  for (const Case& wrong : cases) {
    SCOPED_TRACE(wrong.name);
    T message = to_proto(sample_task(), kParams);
    wrong.spoil(message);
    expect_refusal(task_from_proto(message, WorkerId(3), kBounds).status(), Code::kInvalidArgument,
                   wrong.words);
  }
}

// ---- layout

TEST(Wire, ALayoutTravelsWithNamesShapesAndRoles) {
  Layout layout;
  layout.add("embed", {7, 3}, TensorRole::kEmbedding);
  layout.add("w", {3, 3}, TensorRole::kMatrix);
  layout.add("norm", {3}, TensorRole::kNorm);
  layout.add("b", {3}, TensorRole::kBias);
  const v1::Layout message = to_proto(layout);
  ASSERT_EQ(message.tensors_size(), 4);
  EXPECT_EQ(message.tensors(0).name(), "embed");
  EXPECT_EQ(message.tensors(0).shape(0), 7);
  EXPECT_EQ(message.tensors(0).role(), v1::Tensor::ROLE_EMBEDDING);
  EXPECT_EQ(message.tensors(1).role(), v1::Tensor::ROLE_MATRIX);
  EXPECT_EQ(message.tensors(2).role(), v1::Tensor::ROLE_NORM);
  EXPECT_EQ(message.tensors(3).role(), v1::Tensor::ROLE_BIAS);
  EXPECT_EQ(message.tensors(3).dtype(), v1::Tensor::DTYPE_F32);
  EXPECT_TRUE(check_digest("test", "layout", message.digest()).ok());
  Layout other;
  other.add("embed", {3, 7}, TensorRole::kEmbedding);
  EXPECT_NE(layout_digest(other), layout_digest(layout));
}

// ---- verdicts

TEST(Wire, EveryVerdictComesBack) {
  using Kind = UpdateVerdict::Kind;
  for (const Kind kind : {Kind::kApplied, Kind::kDiscarded})
    EXPECT_EQ(verdict_from_proto(to_proto(UpdateVerdict{kind, {}}))->kind, kind);
  for (int i = 0; i <= static_cast<int>(RejectReason::kEmpty); ++i) {
    const auto reason = static_cast<RejectReason>(i);
    const v1::PushReply reply = to_proto(UpdateVerdict{Kind::kRejected, reason});
    EXPECT_NE(reply.reason(), v1::REJECT_REASON_UNSPECIFIED);
    EXPECT_EQ(reply.text(), to_string(reason));
    EXPECT_EQ(verdict_from_proto(reply)->reason, reason);
  }
}

TEST(Wire, RefusesAReplyWithoutAVerdict) {
  for (const int kind : {0, 4, -1}) {
    v1::PushReply reply;
    reply.set_verdict(static_cast<v1::PushReply::Verdict>(kind));
    expect_refusal(verdict_from_proto(reply).status(), Code::kInvalidArgument,
                   cat("[exchange] got a verdict of kind ", kind));
  }
  for (const int reason : {0, 9, -1}) {
    v1::PushReply reply;
    reply.set_verdict(v1::PushReply::VERDICT_REJECTED);
    reply.set_reason(static_cast<v1::RejectReason>(reason));
    EXPECT_TRUE(absl::IsInvalidArgument(verdict_from_proto(reply).status())) << reason;
  }
}

// ---- codecs

TEST(Wire, ACodecIsTheSameByMessageAndByText) {
  for (const CodecEntry* entry : codec_entries()) {
    v1::Codec message;
    message.set_name(entry->name);
    const auto by_message = codec_from_proto(message);
    ASSERT_TRUE(by_message.ok()) << by_message.status();
    const auto by_text = codec_from_text(entry->name, codec_options_text(message));
    ASSERT_TRUE(by_text.ok()) << by_text.status();
    EXPECT_EQ((*by_message)->encoded_bytes(1000), (*by_text)->encoded_bytes(1000));
  }
  v1::Codec blocks;
  blocks.set_name("int8");
  (*blocks.mutable_options())["block"] = 64;
  EXPECT_EQ(codec_options_text(blocks), "block = 64.0\n");
  EXPECT_EQ((*codec_from_text("int8", "block = 64\n"))->block_values(), 64);
}

TEST(Wire, RefusesACodecThatIsNone) {
  v1::Codec message;
  expect_refusal(codec_from_proto(message).status(), Code::kNotFound, "[codec]");
  message.set_name("fp32");
  for (const char* option : {"depth", "two\nlines"}) {
    (*message.mutable_options())[option] = 3;
    expect_refusal(codec_from_proto(message).status(), Code::kInvalidArgument, "[");
  }
  message.set_name(
      "fp\x13"
      "2");
  expect_refusal(codec_from_proto(message).status(), Code::kInvalidArgument, "[codec] name");
  v1::Codec int8;
  int8.set_name("int8");
  for (const double block :
       {-1.0, 0.5, 1e30, static_cast<double>(NAN), static_cast<double>(INFINITY)}) {
    (*int8.mutable_options())["block"] = block;
    EXPECT_TRUE(absl::IsInvalidArgument(codec_from_proto(int8).status())) << block;
  }
  for (const char* text : {"block", "block = ", "block = x", "block = 64 65", "\n", "block=64"})
    expect_refusal(codec_from_text("int8", text).status(), Code::kDataLoss, "want NAME = NUMBER");
}

// ---- descriptions

v1::RunDescription sample_description() {
  v1::RunDescription run;
  run.set_heartbeat_interval_ns(2 * kNanosPerSecond);
  run.set_lease_ns(30 * kNanosPerSecond);
  run.set_data_digest(std::string(32, 'd'));
  for (const char* name : {"tokenizer.model", "shards/shard-0.tokens"}) {
    v1::RunFile& file = *run.add_files();
    file.set_name(name);
    file.set_bytes(12);
    file.set_digest(std::string(32, 'e'));
  }
  return run;
}

TEST(Wire, NoFileOfADescriptionLeadsOutOfItsDirectory) {
  EXPECT_TRUE(check_description(sample_description()).ok());
  for (const std::string& name :
       {std::string(), std::string("/etc/passwd"), std::string(".."), std::string("../key"),
        std::string("a/../../key"), std::string("a//b"), std::string("a/"), std::string("./a"),
        std::string("a\\b"), std::string("a b"), std::string("a\nb"), std::string("a\0b", 3),
        std::string("~"), std::string("..."), std::string(300, 'a')}) {
    v1::RunDescription run = sample_description();
    run.mutable_files(1)->set_name(name);
    expect_refusal(check_description(run), Code::kInvalidArgument, "[description] file");
  }
}

TEST(Wire, RefusesADescriptionThatCannotBe) {
  using R = v1::RunDescription;
  const std::pair<const char*, std::function<void(R&)>> cases[] = {
      {"no heartbeats", [](R& r) { r.clear_heartbeat_interval_ns(); }},
      {"too many", [](R& r) { r.set_heartbeat_interval_ns(1000); }},
      {"backwards", [](R& r) { r.set_heartbeat_interval_ns(kLeast); }},
      {"a lease that ends between two", [](R& r) { r.set_lease_ns(kNanosPerSecond); }},
      {"a directory's name", [](R& r) { r.set_data_digest("../../.."); }},
      {"negative bytes", [](R& r) { r.mutable_files(0)->set_bytes(-1); }},
      {"a file's digest", [](R& r) { r.mutable_files(0)->clear_digest(); }}};
  for (const auto& [name, spoil] : cases) {
    SCOPED_TRACE(name);
    R run = sample_description();
    spoil(run);
    expect_refusal(check_description(run), Code::kInvalidArgument, "[description]");
  }
}

// ---- texts and chunks

TEST(Wire, TextsAreShortAndPrintable) {
  EXPECT_TRUE(check_text("who", "what", "").ok());
  EXPECT_TRUE(check_text("who", "what", std::string(kLongestText, '~')).ok());
  for (const std::string& text :
       {std::string(kLongestText + 1, 'a'), std::string("\t"), std::string("\x7f"),
        std::string("\xc3\xa9"), std::string(1, '\0')})
    expect_refusal(check_text("who", "what", text), Code::kInvalidArgument, "[who] what: got ");
  EXPECT_TRUE(check_digest("who", "what", std::string(16, 'a') + std::string(16, '9')).ok());
  for (const std::string& text : {std::string(), std::string(31, 'a'), std::string(33, 'a'),
                                  std::string(32, 'A'), std::string(32, 'g')})
    expect_refusal(check_digest("who", "what", text), Code::kInvalidArgument,
                   "want 32 hexadecimal digits");
}

}  // namespace
}  // namespace rubato

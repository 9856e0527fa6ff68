// Parameters and files down, deltas up, with every field wrong in turn: theta moves by nothing but
// a delta that passes the door, once.
#include <cmath>
#include <functional>
#include <limits>

#include "tests/rpc/peer_rig.h"
#include "tests/rpc/refusals.h"
#include <gtest/gtest.h>

#include "rubato/rpc/reception.h"

namespace rubato {
namespace {

using Code = absl::StatusCode;
constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
constexpr int64_t kLeast = std::numeric_limits<int64_t>::min();

template <class Message>
struct Wrong {
  const char* name;
  std::function<void(Message&)> spoil;
  Code code;
  std::string words;
};

// ---- down

class FetchTest : public testing::Test {
 protected:
  FetchTest() : rig_(with_file()) {
    RUBATO_CHECK(rig_.files().make_directories("/data").ok());
    RUBATO_CHECK(rig_.files().replace_file("/data/a.tokens", "0123456789").ok());
    peer_ = rig_.attend(0);  // version 0 is published
  }
  static PeerRigOptions with_file() {
    PeerRigOptions options;
    options.reception.data_directory = "/data";
    options.reception.files.emplace_back().set_name("a.tokens");
    return options;
  }
  static v1::FetchRequest of_version(int64_t version, int64_t offset = 0) {
    v1::FetchRequest request;
    request.set_version(version);
    request.mutable_codec()->set_name("fp32");
    request.set_offset(offset);
    return request;
  }
  // What comes, joined; every chunk is the next one.
  StatusOr<std::string> fetch(const v1::FetchRequest& request) {
    RUBATO_ASSIGN_OR_RETURN(Fetch fetch, rig_.reception().fetch(WorkerId(0), request));
    std::string bytes(static_cast<size_t>(request.offset()), ' ');
    Chunk chunk;
    while (fetch.next(chunk)) {
      RUBATO_RETURN_IF_ERROR(check_chunk(chunk, std::ssize(bytes), chunk.total));
      bytes += chunk.data;
    }
    return bytes;
  }

  PeerRig rig_;
  PeerRig::Attendee peer_;
};

TEST_F(FetchTest, GivesAnyRestOfParametersAndFiles) {
  const auto whole = fetch(of_version(0));
  ASSERT_TRUE(whole.ok()) << whole.status();
  const auto bytes = std::as_bytes(std::span(rig_.initial()));
  const std::string want(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  EXPECT_EQ(*whole, want);
  EXPECT_EQ(fetch(of_version(0, 64))->substr(64), want.substr(64));
  EXPECT_EQ(fetch(of_version(0, std::ssize(want)))->size(), want.size());
  v1::FetchRequest file;
  file.set_file("a.tokens");
  EXPECT_EQ(*fetch(file), "0123456789");
  file.set_offset(7);
  EXPECT_EQ(fetch(file)->substr(7), "789");
  file.set_offset(10);
  EXPECT_TRUE(fetch(file).ok());
}

TEST_F(FetchTest, RefusesWhatIsNotThere) {
  using R = v1::FetchRequest;
  const Wrong<R> wrongs[] = {
      {"nothing", [](R& r) { r.clear_what(); }, Code::kInvalidArgument,
       "[fetch] what: got nothing"},
      {"a later version", [](R& r) { r.set_version(5); }, Code::kNotFound, "5"},
      {"a negative version", [](R& r) { r.set_version(kLeast); }, Code::kNotFound, ""},
      {"no codec", [](R& r) { r.clear_codec(); }, Code::kInvalidArgument, "[fetch] codec"},
      {"another codec", [](R& r) { r.mutable_codec()->set_name("int8"); }, Code::kInvalidArgument,
       "want fp32"},
      {"a negative offset", [](R& r) { r.set_offset(-4); }, Code::kInvalidArgument,
       "[fetch] offset: got -4"},
      {"the least offset", [](R& r) { r.set_offset(kLeast); }, Code::kInvalidArgument, "offset"},
      {"within a value", [](R& r) { r.set_offset(3); }, Code::kInvalidArgument, "a multiple of"},
      {"beyond the end", [](R& r) { r.set_offset(1 << 20); }, Code::kInvalidArgument, "0 to 128"},
      {"no such file", [](R& r) { r.set_file("b.tokens"); }, Code::kNotFound,
       "[fetch] got file b.tokens"},
      {"a file outside", [](R& r) { r.set_file("../etc/passwd"); }, Code::kNotFound,
       "want one of the description"},
      {"a name that is none", [](R& r) { r.set_file("a\0b\n"); }, Code::kNotFound, "file a,"},
      {"control characters", [](R& r) { r.set_file("\x1b[2J"); }, Code::kInvalidArgument,
       "[fetch] file"},
      {"a file beyond its end",
       [](R& r) {
         r.set_file("a.tokens");
         r.set_offset(11);
       },
       Code::kInvalidArgument, "offset: got 11, want 0 to 10"}};
  for (const auto& wrong : wrongs) {
    SCOPED_TRACE(wrong.name);
    R request = of_version(0);
    wrong.spoil(request);
    expect_refusal(rig_.reception().fetch(WorkerId(0), request).status(), wrong.code, wrong.words);
  }
}

// ---- up

class PushTest : public testing::Test {
 protected:
  PushTest() : peer_(rig_.attend(0)), delta_(rig_.delta(peer_.task)) {}
  void expect_untouched() {
    EXPECT_TRUE(rig_.cluster().spool().list().empty());
    ASSERT_TRUE(rig_.stop().ok());
    EXPECT_TRUE(rig_.theta_is_initial());
    EXPECT_EQ(rig_.cluster().counts().version, 0);
  }
  void expect_version(int64_t version) {
    ASSERT_TRUE(rig_.stop().ok());
    EXPECT_EQ(rig_.cluster().counts().version, version);
    EXPECT_FALSE(rig_.theta_is_initial());
  }
  Chunk chunk(int64_t offset, int64_t bytes) const {
    return PeerRig::chunk_of(delta_.encoded, offset, bytes);
  }

  PeerRig rig_;
  PeerRig::Attendee peer_;
  PeerDelta delta_;
};

TEST_F(PushTest, RefusesAHeaderThatCannotBe) {
  using H = v1::DeltaHeader;
  const Wrong<H> wrongs[] = {
      {"incarnation", [](H& h) { h.set_incarnation(3); }, Code::kFailedPrecondition,
       "[push] got incarnation 3, want 0"},
      {"no codec", [](H& h) { h.clear_codec(); }, Code::kInvalidArgument,
       "[push] codec: got , want fp32"},
      {"another codec", [](H& h) { h.mutable_codec()->set_name("int8"); }, Code::kInvalidArgument,
       "codec: got int8, want fp32"},
      {"a codec's name", [](H& h) { h.mutable_codec()->set_name("\x07"); }, Code::kInvalidArgument,
       "codec: got 1 bytes"},
      {"no bytes", [](H& h) { h.set_bytes(0); }, Code::kInvalidArgument,
       "[push] bytes: got 0, want 128"},
      {"too many bytes", [](H& h) { h.set_bytes(kMost); }, Code::kInvalidArgument, "want 128"},
      {"negative bytes", [](H& h) { h.set_bytes(-128); }, Code::kInvalidArgument, "got -128"},
      {"no digest", [](H& h) { h.clear_digest(); }, Code::kInvalidArgument, "[push] digest"},
      {"a path for a digest", [](H& h) { h.set_digest("../../../../../../etc/passwd/...."); },
       Code::kInvalidArgument, "want 32 hexadecimal digits"}};
  for (const auto& wrong : wrongs) {
    SCOPED_TRACE(wrong.name);
    PeerDelta bad = delta_;
    wrong.spoil(bad.header);
    expect_refusal(rig_.push(0, bad).status(), wrong.code, wrong.words);
  }
  expect_untouched();
}

TEST_F(PushTest, RefusesAChunkThatCannotBe) {
  using C = Chunk;
  const Wrong<C> wrongs[] = {
      {"ahead", [](C& c) { c.offset = 64; }, Code::kDataLoss, "want the next ones at 0 of 128"},
      {"negative", [](C& c) { c.offset = kLeast; }, Code::kDataLoss, "[exchange]"},
      {"another total", [](C& c) { c.total = kMost; }, Code::kDataLoss, "of 128"},
      {"damaged", [](C& c) { c.checksum ^= 1; }, Code::kDataLoss, "wrong checksum"},
      {"another checksum", [](C& c) { c.checksum = 0; }, Code::kDataLoss, "wrong checksum"},
      {"empty", [](C& c) { c = make_chunk(0, c.total, "", nullptr); }, Code::kDataLoss,
       "got 0 bytes at 0"},
      {"oversized",
       [](C& c) {
         static const std::string data(1000, 'x');
         c = make_chunk(0, c.total, data, nullptr);
       },
       Code::kDataLoss, "got 1000 bytes at 0 of 128"},
      {"within a value", [](C& c) { c = make_chunk(0, c.total, c.data.substr(0, 30), nullptr); },
       Code::kInvalidArgument, "[push] a chunk: got 30 bytes at 0, want one of whole blocks"}};
  for (const auto& wrong : wrongs) {
    SCOPED_TRACE(wrong.name);
    const auto push = rig_.reception().push(WorkerId(0), delta_.header);
    ASSERT_TRUE(push.ok()) << push.status();
    C bad = chunk(0, 64);
    wrong.spoil(bad);
    expect_refusal((*push)->add(bad), wrong.code, wrong.words);
  }
  EXPECT_EQ(rig_.cluster().spool().arrived_bytes(TaskId(peer_.task.id())), 0);
  ASSERT_TRUE(rig_.cluster().spool().remove(TaskId(peer_.task.id())).ok());
  expect_untouched();
}

TEST_F(PushTest, ChunksThatComeInAnotherOrderAreRefused) {
  const auto push = rig_.reception().push(WorkerId(0), delta_.header);
  ASSERT_TRUE(push.ok());
  EXPECT_TRUE(absl::IsDataLoss((*push)->add(chunk(64, 64))));
  EXPECT_TRUE((*push)->add(chunk(0, 64)).ok());
  EXPECT_TRUE(absl::IsDataLoss((*push)->add(chunk(0, 64)))) << "one that came before";
  EXPECT_TRUE((*push)->add(chunk(64, 64)).ok());
  EXPECT_TRUE(absl::IsDataLoss((*push)->add(chunk(64, 64)))) << "one more than all";
  EXPECT_EQ((*push)->finish()->verdict(), v1::PushReply::VERDICT_APPLIED);
  expect_version(1);
}

TEST_F(PushTest, ATruncatedDeltaIsNone) {
  const auto push = rig_.reception().push(WorkerId(0), delta_.header);
  ASSERT_TRUE(push.ok());
  ASSERT_TRUE((*push)->add(chunk(0, 64)).ok());
  expect_refusal((*push)->finish().status(), Code::kInvalidArgument, "the end behind 64 bytes");
  expect_untouched();
}

TEST_F(PushTest, BytesOfAnotherDigestAreNone) {
  PeerDelta bad = delta_;
  bad.header.set_digest(std::string(32, '0'));
  expect_refusal(rig_.push(0, bad).status(), Code::kDataLoss, "send them again from the start");
  expect_untouched();
}

TEST_F(PushTest, ACutUploadGoesOnWhereItBroke) {
  {
    const auto push = rig_.reception().push(WorkerId(0), delta_.header);
    ASSERT_TRUE((*push)->add(chunk(0, 64)).ok());
  }
  v1::PushOffsetRequest request;
  request.set_task(peer_.task.id());
  EXPECT_EQ(rig_.reception().push_offset(WorkerId(0), request)->offset(), 64);
  EXPECT_EQ(rig_.reception().push_offset(WorkerId(1), request)->offset(), 0) << "not its own";
  EXPECT_EQ(rig_.push(0, delta_, 64, 64)->verdict(), v1::PushReply::VERDICT_APPLIED);
  expect_version(1);
}

TEST_F(PushTest, OffsetsOfWhatNobodyAskedForAreZero) {
  v1::PushOffsetRequest request;
  for (const int64_t task : {kLeast, int64_t{-1}, int64_t{17}, kMost}) {
    request.set_task(task);
    EXPECT_EQ(rig_.reception().push_offset(WorkerId(0), request)->offset(), 0);
  }
  request.set_task(peer_.task.id());
  request.set_incarnation(4);
  EXPECT_EQ(rig_.reception().push_offset(WorkerId(0), request)->offset(), 0);
}

TEST_F(PushTest, TheSameDeltaTwiceIsAppliedOnce) {
  EXPECT_EQ(rig_.push(0, delta_)->verdict(), v1::PushReply::VERDICT_APPLIED);
  const PeerDelta other = rig_.delta(peer_.task, 0.5F);
  for (const PeerDelta& again : {delta_, other})
    EXPECT_EQ(rig_.push(0, again)->verdict(), v1::PushReply::VERDICT_APPLIED);
  expect_version(1);
  EXPECT_EQ(rig_.cluster().counts().arrivals, 1);
}

TEST_F(PushTest, DeltasThatAreNotFiniteAreRejected) {
  v1::Task task = peer_.task;
  std::vector<float> values(rig_.initial().size(), 0.01F);
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    values.back() = bad;
    const auto reply = rig_.push(0, rig_.delta(task, values));
    ASSERT_TRUE(reply.ok()) << reply.status();
    EXPECT_EQ(reply->verdict(), v1::PushReply::VERDICT_REJECTED);
    EXPECT_EQ(reply->reason(), v1::REJECT_REASON_NOT_FINITE);
    EXPECT_EQ(reply->text(), "not finite");
    task = PeerRig::next_task(*peer_.session);
  }
  EXPECT_TRUE(rig_.cluster().spool().list().empty());
  ASSERT_TRUE(rig_.stop().ok());
  EXPECT_TRUE(rig_.theta_is_initial());
}

TEST_F(PushTest, ClaimsThatCannotBeAreRejected) {
  using H = v1::DeltaHeader;
  const std::pair<const char*, std::function<void(H&)>> claims[] = {
      {"too many steps", [](H& h) { h.set_steps_done(h.steps_done() + 1); }},
      {"the most steps", [](H& h) { h.set_steps_done(kMost); }},
      {"negative steps", [](H& h) { h.set_steps_done(kLeast); }},
      {"free tokens", [](H& h) { h.set_tokens(h.tokens() + 1); }},
      {"no tokens", [](H& h) { h.set_tokens(0); }},
      {"the most tokens", [](H& h) { h.set_tokens(kMost); }},
      {"negative time", [](H& h) { h.set_train_ns(-1); }},
      {"the least time", [](H& h) { h.set_train_ns(kLeast); }}};
  v1::Task task = peer_.task;
  for (const auto& [name, claim] : claims) {
    SCOPED_TRACE(name);
    PeerDelta bad = rig_.delta(task);
    claim(bad.header);
    const auto reply = rig_.push(0, bad);
    ASSERT_TRUE(reply.ok()) << reply.status();
    EXPECT_EQ(reply->reason(), v1::REJECT_REASON_BAD_CLAIM);
    task = PeerRig::next_task(*peer_.session);
  }
  // What is for people only does not matter, and any time is one.
  PeerDelta odd = rig_.delta(task);
  odd.header.set_mean_loss(NAN);
  odd.header.set_last_lr(-INFINITY);
  odd.header.set_train_ns(kMost);
  EXPECT_EQ(rig_.push(0, odd)->verdict(), v1::PushReply::VERDICT_APPLIED);
  EXPECT_GE(PeerRig::next_task(*peer_.session).steps(), 1);
  expect_version(1);
  EXPECT_EQ(rig_.cluster().counts().rejected, std::ssize(claims));
}

TEST_F(PushTest, TasksOfOthersAndOfNobodyAreRejected) {
  const auto other = rig_.attend(1);
  const std::pair<int64_t, v1::RejectReason> tasks[] = {
      {other.task.id(), v1::REJECT_REASON_WRONG_WORKER},
      {other.task.id() + 1, v1::REJECT_REASON_UNKNOWN_TASK},
      {-1, v1::REJECT_REASON_UNKNOWN_TASK},
      {kLeast, v1::REJECT_REASON_UNKNOWN_TASK},
      {kMost, v1::REJECT_REASON_UNKNOWN_TASK}};
  for (const auto& [task, reason] : tasks) {
    PeerDelta bad = delta_;
    bad.header.set_task(task);
    EXPECT_EQ(rig_.push(0, bad)->reason(), reason) << task;
    bad.header.set_bytes(0);
    bad.header.set_steps_done(0);
    EXPECT_EQ(rig_.push(0, bad)->reason(), reason) << task;
  }
  EXPECT_EQ(rig_.push(1, rig_.delta(other.task))->verdict(), v1::PushReply::VERDICT_APPLIED);
  expect_version(1);
}

TEST_F(PushTest, NothingDeliveredGivesTheDataBack) {
  PeerDelta empty = delta_;
  empty.header.set_bytes(0);
  empty.header.set_steps_done(0);
  const auto push = rig_.reception().push(WorkerId(0), empty.header);
  ASSERT_TRUE(push.ok()) << push.status();
  expect_refusal((*push)->add(chunk(0, 64)), Code::kInvalidArgument, "bytes of an empty delta");
  empty.encoded.clear();
  empty.header.set_tokens(0);
  EXPECT_EQ(rig_.push(0, empty)->reason(), v1::REJECT_REASON_EMPTY);
  const v1::Task next = PeerRig::next_task(*peer_.session);
  EXPECT_EQ(next.ranges(0).first(), peer_.task.ranges(0).first());
  expect_untouched();
}

TEST(Push, AFinishedRunTakesNothing) {
  PeerRigOptions options;
  options.budget_steps = 4;
  PeerRig rig(options);
  const auto first = rig.attend(0);
  const auto second = rig.attend(1);
  EXPECT_EQ(rig.push(0, rig.delta(first.task))->verdict(), v1::PushReply::VERDICT_APPLIED);
  EXPECT_EQ(rig.push(1, rig.delta(second.task))->reason(), v1::REJECT_REASON_FINISHED);
  ASSERT_TRUE(rig.stop().ok());
  EXPECT_EQ(rig.cluster().counts().version, 1);
}

// ---- two uploads of one task

TEST_F(PushTest, ANewerUploadTakesOver) {
  const auto older = rig_.reception().push(WorkerId(0), delta_.header);
  ASSERT_TRUE((*older)->add(chunk(0, 64)).ok());
  EXPECT_EQ(rig_.push(0, rig_.delta(peer_.task, 0.5F))->verdict(), v1::PushReply::VERDICT_APPLIED);
  expect_refusal((*older)->add(chunk(64, 64)), Code::kAborted, "a newer one has taken over");
  EXPECT_FALSE((*older)->finish().ok());
  expect_version(1);
}

// On the virtual clock a delta may lie long before its hour comes: a scripted worker that sends
// again, with other bytes or the same, neither pulls the first one away from under its event nor
// leaves anybody waiting for ever.
class EarlyPushTest : public testing::Test {
 protected:
  static PeerRigOptions scripted() {
    PeerRigOptions options;
    options.script = std::vector<ScriptedWorker>{{.ns_per_step = 5000}, {.ns_per_step = 1000}};
    return options;
  }
  EarlyPushTest() : rig_(scripted()) {
    auto first = rig_.reception().attend(WorkerId(0), rig_.hello());
    auto second = rig_.reception().attend(WorkerId(1), rig_.hello());
    early_ = std::move(*first);
    late_ = std::move(*second);
    early_task_ = PeerRig::next_task(*early_);
    late_task_ = PeerRig::next_task(*late_);
  }
  // Worker 0's delta, on its way until worker 1's has come five times.
  std::thread push_early(StatusOr<v1::PushReply>& reply, float value) {
    return std::thread(
        [this, &reply, value] { reply = rig_.push(0, rig_.delta(early_task_, value)); });
  }
  void wait_until_spooled() {
    while (rig_.cluster().spool().list().empty() || !rig_.cluster().spool().list()[0].complete)
      std::this_thread::yield();
  }
  void let_time_pass() {
    for (int i = 0; i < 5; ++i) {
      EXPECT_EQ(rig_.push(1, rig_.delta(late_task_))->verdict(), v1::PushReply::VERDICT_APPLIED);
      late_task_ = PeerRig::next_task(*late_);
    }
  }

  PeerRig rig_;
  std::unique_ptr<Session> early_, late_;
  v1::Task early_task_, late_task_;
};

TEST_F(EarlyPushTest, OtherBytesWaitForTheVerdictOfTheFirst) {
  StatusOr<v1::PushReply> reply = absl::UnknownError("");
  std::thread first = push_early(reply, 0.01F);
  wait_until_spooled();
  expect_refusal(rig_.push(0, rig_.delta(early_task_, 0.5F)).status(), Code::kUnavailable,
                 "while one is being judged");
  let_time_pass();
  first.join();
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->verdict(), v1::PushReply::VERDICT_APPLIED);
  EXPECT_EQ(rig_.push(0, rig_.delta(early_task_, 0.5F))->verdict(), v1::PushReply::VERDICT_APPLIED);
  EXPECT_TRUE(rig_.stop().ok());
}

TEST_F(EarlyPushTest, TheSameBytesLeaveNobodyWaiting) {
  StatusOr<v1::PushReply> replies[3] = {absl::UnknownError(""), absl::UnknownError(""),
                                        absl::UnknownError("")};
  std::vector<std::thread> threads;
  threads.push_back(push_early(replies[0], 0.01F));
  wait_until_spooled();
  threads.push_back(push_early(replies[1], 0.01F));
  threads.push_back(push_early(replies[2], 0.01F));
  let_time_pass();
  int applied = 0;
  for (int i = 0; i < 3; ++i) {
    threads[static_cast<size_t>(i)].join();
    // Each got the verdict, or is told to ask again, or was taken over in mid-upload.
    applied += replies[i].ok();
    if (replies[i].ok()) continue;
    EXPECT_TRUE(absl::IsUnavailable(replies[i].status()) || absl::IsAborted(replies[i].status()) ||
                absl::IsDataLoss(replies[i].status()))
        << replies[i].status();
  }
  EXPECT_GE(applied, 1);
  EXPECT_TRUE(rig_.stop().ok());
}

TEST_F(EarlyPushTest, ClaimsOfStepsThatCannotBeAreJudgedInTheirHour) {
  PeerDelta bad = rig_.delta(early_task_);
  bad.header.set_steps_done(kMost);
  std::thread pusher([&] {
    const auto reply = rig_.push(0, bad);
    EXPECT_EQ(reply->reason(), v1::REJECT_REASON_BAD_CLAIM);
  });
  wait_until_spooled();
  let_time_pass();
  pusher.join();
  EXPECT_TRUE(rig_.stop().ok());
}

}  // namespace
}  // namespace rubato

// Every field of every message wrong in turn: the right code, one line that says who got and wants
// what, and nothing else happens.
#include "rubato/rpc/reception.h"

#include <cmath>
#include <functional>
#include <limits>

#include "tests/rpc/peer_rig.h"
#include "tests/rpc/refusals.h"
#include <gtest/gtest.h>

namespace rubato {
namespace {

using Code = absl::StatusCode;
constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
constexpr int64_t kLeast = std::numeric_limits<int64_t>::min();
const std::string kOtherDigest(32, 'f');
const std::string kLongText(300, 'x');

template <class Message>
struct Wrong {
  const char* name;
  std::function<void(Message&)> spoil;
  Code code;
  std::string words;
};

// Nothing moved, nothing was written down, nothing lies about.
void expect_untouched(PeerRig& rig, size_t events) {
  EXPECT_TRUE(rig.cluster().spool().list().empty());
  ASSERT_TRUE(rig.stop().ok());
  EXPECT_TRUE(rig.theta_is_initial());
  EXPECT_EQ(rig.cluster().counts().arrivals, 0);
  EXPECT_THAT(rig.history(), testing::SizeIs(events));
}

// ---- control

TEST(Reception, DescribesARunToAnyPeerOfItsProtocol) {
  PeerRig rig;
  const auto run = rig.reception().describe(rig.describe_request());
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->run(), rig.cluster().identity().run);
  EXPECT_EQ(run->layout().digest(), layout_digest(rig.workload().layout()));
  EXPECT_TRUE(check_description(*run).ok());
  v1::DescribeRequest newer = rig.describe_request();
  newer.mutable_protocol()->set_last(99);
  EXPECT_EQ(rig.reception().describe(newer)->protocol(), kProtocolLast);
}

TEST(Reception, RefusesADescribeRequestThatCannotBe) {
  PeerRigOptions options;
  options.reception.worker_memory_bytes = int64_t{8} << 30;
  PeerRig rig(options);
  using R = v1::DescribeRequest;
  const Wrong<R> wrongs[] = {
      {"no protocol", [](R& r) { r.clear_protocol(); }, Code::kFailedPrecondition, "[protocol]"},
      {"later protocol", [](R& r) { r.mutable_protocol()->set_first(9); },
       Code::kFailedPrecondition, "got versions 9 to 1, want one of 1 to 1"},
      {"earlier protocol", [](R& r) { r.mutable_protocol()->set_last(-4); },
       Code::kFailedPrecondition, "[protocol]"},
      {"long build", [](R& r) { r.set_build(kLongText); }, Code::kInvalidArgument,
       "[describe] build: got 300 bytes"},
      {"build of two lines", [](R& r) { r.set_build("a\nb"); }, Code::kInvalidArgument,
       "printable"},
      {"negative memory", [](R& r) { r.set_memory_bytes(-1); }, Code::kInvalidArgument,
       "memory_bytes: got -1"},
      {"too little memory", [](R& r) { r.set_memory_bytes(int64_t{2} << 30); },
       Code::kResourceExhausted, "got 2 GiB at the worker, want 8 GiB"}};
  for (const auto& wrong : wrongs) {
    SCOPED_TRACE(wrong.name);
    R request = rig.describe_request();
    wrong.spoil(request);
    expect_refusal(rig.reception().describe(request).status(), wrong.code, wrong.words);
  }
  expect_untouched(rig, 0);
}

TEST(Reception, RefusesAHelloThatCannotBe) {
  PeerRigOptions options;
  options.reception.worker_memory_bytes = int64_t{8} << 30;
  PeerRig rig(options);
  using H = v1::Hello;
  const Wrong<H> wrongs[] = {
      {"no protocol", [](H& h) { h.clear_protocol(); }, Code::kFailedPrecondition, "[protocol]"},
      {"build", [](H& h) { h.set_build("\x01"); }, Code::kInvalidArgument, "[hello] build"},
      {"another run", [](H& h) { h.set_run(kOtherDigest); }, Code::kFailedPrecondition,
       "[hello] got run " + kOtherDigest},
      {"a run that is no name", [](H& h) { h.set_run("\n"); }, Code::kInvalidArgument,
       "[hello] run"},
      {"a rolled back run", [](H& h) { h.set_incarnation(7); }, Code::kFailedPrecondition,
       ".7, want "},
      {"recipe", [](H& h) { h.set_recipe_digest(kOtherDigest); }, Code::kFailedPrecondition,
       "recipe_digest: got " + kOtherDigest},
      {"layout", [](H& h) { h.clear_layout_digest(); }, Code::kFailedPrecondition,
       "layout_digest: got , want "},
      {"tokenizer", [](H& h) { h.set_tokenizer_digest(kOtherDigest); }, Code::kFailedPrecondition,
       "tokenizer_digest"},
      {"a digest that is a book", [](H& h) { h.set_layout_digest(kLongText); },
       Code::kInvalidArgument, "layout_digest: got 300 bytes"},
      {"negative memory", [](H& h) { h.set_memory_bytes(kLeast); }, Code::kInvalidArgument,
       "memory_bytes"},
      {"too little memory", [](H& h) { h.set_memory_bytes(1); }, Code::kResourceExhausted,
       "want 8 GiB"},
      {"negative speed", [](H& h) { h.set_ns_per_step(-1); }, Code::kInvalidArgument,
       "ns_per_step: got -1, want 0 or more"},
      {"held tasks",
       [](H& h) {
         for (int i = 0; i < 65; ++i) h.add_held_tasks(i);
       },
       Code::kInvalidArgument, "held_tasks: got 65, want at most 64"}};
  for (const auto& wrong : wrongs) {
    SCOPED_TRACE(wrong.name);
    H hello = rig.hello();
    wrong.spoil(hello);
    expect_refusal(rig.reception().attend(WorkerId(0), hello).status(), wrong.code, wrong.words);
  }
  EXPECT_EQ(rig.cluster().roster().attending(), 0);
  expect_untouched(rig, 0);
}

TEST(Reception, HeldTasksOfOthersGiveNothing) {
  PeerRig rig;
  const auto owner = rig.attend(0);
  v1::Hello hello = rig.hello();
  hello.set_has_state(true);
  for (const int64_t task : {owner.task.id(), kMost, kLeast, int64_t{-1}})
    hello.add_held_tasks(task);
  const auto thief = rig.reception().attend(WorkerId(1), hello);
  ASSERT_TRUE(thief.ok()) << thief.status();
  EXPECT_EQ((*thief)->welcome().welcome().tasks_size(), 0);
  EXPECT_NE(PeerRig::next_task(**thief).id(), owner.task.id());
}

TEST(Reception, ClaimsOfSpeedNeverHurt) {
  PeerRig rig;
  v1::Hello hello = rig.hello();
  int64_t worker = 0;
  for (const int64_t speed : {int64_t{0}, int64_t{1}, kMost}) {
    hello.set_ns_per_step(speed);
    const auto session = rig.reception().attend(WorkerId(worker++), hello);
    ASSERT_TRUE(session.ok()) << session.status();
    EXPECT_GE(PeerRig::next_task(**session).steps(), 1);
  }
}

TEST(Session, RefusesWhatIsNoMessageOfASession) {
  PeerRig rig;
  const auto peer = rig.attend(0);
  v1::FromWorker message;
  expect_refusal(peer.session->receive(message), Code::kInvalidArgument,
                 "[session] a message: got nothing this build knows");
  *message.mutable_hello() = rig.hello();
  expect_refusal(peer.session->receive(message), Code::kInvalidArgument, "a second hello");
  message.mutable_leave()->set_reason("two\nlines");
  expect_refusal(peer.session->receive(message), Code::kInvalidArgument, "[leave] reason");
  message.mutable_want()->set_behind(kMost);
  EXPECT_TRUE(peer.session->receive(message).ok());
  message.mutable_heartbeat()->set_sent_ns(kLeast);
  message.mutable_heartbeat()->set_task(kMost);
  EXPECT_TRUE(peer.session->receive(message).ok());
  EXPECT_EQ(peer.session->box().take()->heartbeat_ack().sent_ns(), kLeast);
  expect_untouched(rig, 2);  // it joined and the run began
}

TEST(Session, AGoodbyeEndsItAndGivesTheTaskBack) {
  PeerRig rig;
  const auto peer = rig.attend(0);
  v1::FromWorker message;
  message.mutable_leave()->set_reason("goodbye");
  EXPECT_TRUE(absl::IsCancelled(peer.session->receive(message)));
  EXPECT_TRUE(peer.session->box().closed());
  EXPECT_NE(rig.attend(1).task.id(), peer.task.id());
  EXPECT_TRUE(rig.push(0, rig.delta(peer.task)).ok()) << "welcome until its data is another's";
}

TEST(Session, HeartbeatsThatNobodyReadsEndIt) {
  PeerRig rig;
  const auto peer = rig.attend(0);
  v1::FromWorker message;
  message.mutable_heartbeat()->set_sent_ns(1);
  for (size_t i = 0; i <= Mailbox::kMostMessages; ++i)
    EXPECT_TRUE(peer.session->receive(message).ok());
  EXPECT_TRUE(peer.session->box().closed());
}

// ---- what a peer may do how often

TEST(Reception, AttendingInALoopFillsNoJournalAndStarvesNobody) {
  PeerRigOptions options;
  options.reception.hellos = {.burst = 5, .interval = kNanosPerSecond};
  PeerRig rig(options);
  int accepted = 0;
  for (int i = 0; i < 1000; ++i) {
    const auto session = rig.reception().attend(WorkerId(0), rig.hello());
    accepted += session.ok();
    if (session.ok()) continue;
    expect_refusal(session.status(), Code::kResourceExhausted,
                   "[hello] got more than 5 hellos of worker 0 in a row, want one every 1 s");
  }
  EXPECT_EQ(accepted, 5);
  const auto other = rig.attend(1);
  EXPECT_EQ(rig.push(1, rig.delta(other.task))->verdict(), v1::PushReply::VERDICT_APPLIED);
  rig.advance(2 * kNanosPerSecond);
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(rig.reception().attend(WorkerId(0), rig.hello()).ok(), i < 2);
  ASSERT_TRUE(rig.stop().ok());
  // And the start, the other's hello and delta.
  EXPECT_THAT(rig.history(), testing::SizeIs(5 + 2 + 3));
}

TEST(Reception, AskingForTasksInALoopFillsNoJournal) {
  PeerRigOptions options;
  options.overlap = Overlap::kUpload;
  PeerRig rig(options);
  const auto peer = rig.attend(0);
  v1::FromWorker message;
  for (int i = 0; i < 100; ++i) {
    for (const int64_t behind : {peer.task.id(), int64_t{-1}, int64_t{1}, kMost}) {
      message.mutable_want()->set_behind(behind);
      EXPECT_TRUE(peer.session->receive(message).ok());
    }
  }
  EXPECT_EQ(PeerRig::next_task(*peer.session).id(), 1);
  message.mutable_want()->set_behind(peer.task.id());
  EXPECT_TRUE(peer.session->receive(message).ok());
  ASSERT_TRUE(rig.stop().ok());
  // Joined, began, wanted; and one more when the loop was faster than the dispatch.
  EXPECT_THAT(rig.history(), testing::SizeIs(testing::Le(4u)));
}

TEST(Reception, DeltasThatAreRefusedBecomeRare) {
  PeerRigOptions options;
  options.reception.refusals = {.burst = 3, .interval = kNanosPerSecond};
  PeerRig rig(options);
  const auto peer = rig.attend(0);
  v1::Task task = peer.task;
  for (int i = 0; i < 3; ++i) {
    const auto reply = rig.push(0, rig.delta(task, NAN));
    ASSERT_TRUE(reply.ok()) << reply.status();
    EXPECT_EQ(reply->reason(), v1::REJECT_REASON_NOT_FINITE);
    task = PeerRig::next_task(*peer.session);
  }
  expect_refusal(rig.push(0, rig.delta(task)).status(), Code::kResourceExhausted,
                 "[push] got more than 3 refused deltas of worker 0");
  const auto other = rig.attend(1);
  EXPECT_EQ(rig.push(1, rig.delta(other.task))->verdict(), v1::PushReply::VERDICT_APPLIED);
  rig.advance(kNanosPerSecond);
  EXPECT_EQ(rig.push(0, rig.delta(task))->verdict(), v1::PushReply::VERDICT_APPLIED);
}

}  // namespace
}  // namespace rubato

// A worker's session over cuts, restarts and refusals, against a coordinator of our making.
#include "rubato/rpc/attendance.h"

#include <limits>

#include "tests/rpc/scripted_link.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace rubato {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const Status kCut = absl::UnavailableError("[test] a cut");

std::vector<int64_t> held_tasks(const v1::Hello& hello) {
  return {hello.held_tasks().begin(), hello.held_tasks().end()};
}

class AttendanceTest : public testing::Test {
 protected:
  AttendanceTest() {
    environment_.clock = [this] { return now_.load(); };
    environment_.note = [this](const Notice& notice) {
      const std::lock_guard lock(mutex_);
      notes_.push_back(notice.text);
    };
    environment_.stop = &stop_;
  }
  void attend(Nanos heartbeat_interval = 3600 * kNanosPerSecond) {
    attendance_.emplace(link_, v1::Hello(), heartbeat_interval, environment_);
  }
  // Until the session is over for good.
  Status end() {
    while (attendance_->next_task().has_value()) continue;
    EXPECT_TRUE(attendance_->ended());
    return attendance_->end();
  }
  std::vector<std::string> notes() {
    const std::lock_guard lock(mutex_);
    return notes_;
  }

  ScriptedLink link_;
  std::atomic<Nanos> now_{kNanosPerSecond};
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::vector<std::string> notes_;
  WorkerEnvironment environment_;
  std::optional<Attendance> attendance_;
};

TEST_F(AttendanceTest, TasksOfTheWelcomeComeFirstThenDispatches) {
  link_.script({.messages = {welcome_message({4, 5}), dispatch_message(6)}, .end = {}});
  attend();
  EXPECT_EQ(attendance_->wait_for_welcome()->worker(), 3);
  EXPECT_FALSE(attendance_->is_wanted(4)) << "not taken yet";
  for (const int64_t task : {4, 5, 6}) {
    EXPECT_EQ(attendance_->next_task()->id(), task);
    EXPECT_TRUE(attendance_->is_wanted(task));
  }
  EXPECT_FALSE(attendance_->take_task().has_value());
  attendance_->forget(5);
  EXPECT_FALSE(attendance_->is_wanted(5));
  EXPECT_FALSE(attendance_->is_wanted(77));
}

TEST_F(AttendanceTest, ADispatchThatComesTwiceIsOneTask) {
  link_.script({.messages = {welcome_message({4}), dispatch_message(4), dispatch_message(5),
                             dispatch_message(5), dispatch_message(6)},
                .end = {}});
  attend();
  for (const int64_t task : {4, 5, 6}) EXPECT_EQ(attendance_->next_task()->id(), task);
}

TEST_F(AttendanceTest, AfterACutItTellsWhatItHolds) {
  link_.script({.messages = {welcome_message({4, 5}), dispatch_message(6)}, .end = kCut});
  link_.script({.messages = {welcome_message({4, 6, 7})}, .end = {}});
  attend();
  EXPECT_EQ(attendance_->next_task()->id(), 4);
  EXPECT_EQ(attendance_->next_task()->id(), 5);
  attendance_->set_has_state();
  link_.wait_for_hellos(2);
  const auto hellos = link_.hellos();
  EXPECT_FALSE(hellos[0].has_state());
  EXPECT_THAT(held_tasks(hellos[0]), ElementsAre());
  EXPECT_TRUE(hellos[1].has_state());
  EXPECT_THAT(held_tasks(hellos[1]), ElementsAre(4, 5, 6));
  // 4 goes on, 5 is nobody's work any more, 6 still waits in line and 7 is new.
  EXPECT_EQ(attendance_->next_task()->id(), 6);
  EXPECT_EQ(attendance_->next_task()->id(), 7);
  EXPECT_TRUE(attendance_->is_wanted(4));
  EXPECT_FALSE(attendance_->is_wanted(5));
}

TEST_F(AttendanceTest, AQueuedTaskThatIsNotListedAnyMoreIsForgotten) {
  link_.script({.messages = {welcome_message({4})}, .end = kCut});
  link_.script({.messages = {welcome_message({5})}, .end = {}});
  attend();
  link_.wait_for_hellos(2);
  while (attendance_->take_task().has_value()) continue;
  link_.say(dispatch_message(6));
  for (std::optional<v1::Task> task; !task || task->id() != 6;) task = attendance_->next_task();
  EXPECT_FALSE(attendance_->is_wanted(4));
}

TEST_F(AttendanceTest, ARefusedHelloIsTheEnd) {
  link_.script_refusal(absl::FailedPreconditionError("[hello] another run"));
  attend();
  EXPECT_TRUE(absl::IsFailedPrecondition(attendance_->wait_for_welcome().status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(end()));
  EXPECT_EQ(link_.hellos().size(), 1u);
}

TEST_F(AttendanceTest, ACoordinatorThatIsBusyIsAskedAgain) {
  link_.script_refusal(absl::ResourceExhaustedError("[hello] too often"));
  link_.script({.messages = {welcome_message()}, .end = {}});
  attend();
  EXPECT_TRUE(attendance_->wait_for_welcome().ok());
  EXPECT_THAT(notes(), ElementsAre(HasSubstr("too often; trying on")));
}

TEST_F(AttendanceTest, PatienceEnds) {
  environment_.patience = 10 * kNanosPerSecond;
  attend();
  link_.wait_for_hellos(1);
  now_ += 11 * kNanosPerSecond;
  const Status status = attendance_->wait_for_welcome().status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("no word from the coordinator"));
}

TEST_F(AttendanceTest, TheRunsEndIsNoError) {
  link_.script({.messages = {welcome_message({4}), release_message(v1::Release::WHY_FINISHED)},
                .end = absl::OkStatus()});
  attend();
  EXPECT_TRUE(end().ok());
  EXPECT_FALSE(attendance_->is_wanted(4));
}

TEST_F(AttendanceTest, OtherReleasesSayWhy) {
  const std::pair<v1::Release::Why, const char*> reasons[] = {
      {v1::Release::WHY_REPLACED, "a second worker of the same identity"},
      {v1::Release::WHY_EVICTED, "released by the coordinator: two?lines"},
      {v1::Release::WHY_UNSPECIFIED, "released"},
      {static_cast<v1::Release::Why>(77), "released"}};
  for (const auto& [why, words] : reasons) {
    link_.script(
        {.messages = {welcome_message(), release_message(why, "two\nlines")}, .end = kCut});
    attend();
    const Status status = end();
    EXPECT_TRUE(absl::IsAborted(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(words));
    attendance_.reset();
  }
}

TEST_F(AttendanceTest, ACoordinatorThatGoesDownIsWaitedFor) {
  link_.script({.messages = {welcome_message({4}), release_message(v1::Release::WHY_STOPPING)},
                .end = absl::OkStatus()});
  link_.script({.messages = {welcome_message({4, 5})}, .end = {}});
  attend();
  EXPECT_EQ(attendance_->next_task()->id(), 4);
  EXPECT_EQ(attendance_->next_task()->id(), 5);
  EXPECT_TRUE(attendance_->is_wanted(4));
  EXPECT_THAT(notes(), ElementsAre(HasSubstr("goes down for a while")));
}

TEST_F(AttendanceTest, MessagesOfNoKindAreLetBe) {
  link_.script({.messages = {v1::ToWorker(), welcome_message({4})}, .end = {}});
  attend();
  EXPECT_EQ(attendance_->next_task()->id(), 4);
}

TEST_F(AttendanceTest, HeartbeatsTellTheTaskAndMeasureTheWay) {
  link_.script({.messages = {welcome_message({4})}, .end = {}});
  attend(kNanosPerSecond / 1000);
  EXPECT_EQ(attendance_->next_task()->id(), 4);
  attendance_->report(4, 17);
  link_.wait_for_messages(link_.heard().size() + 3);
  const v1::Heartbeat last = link_.heard().back().heartbeat();
  EXPECT_EQ(last.task(), 4);
  EXPECT_EQ(last.steps_done(), 17);
  EXPECT_EQ(last.sent_ns(), now_);
  now_ += 50;
  // Of somebody else's clock, then ours.
  for (const int64_t sent : {std::numeric_limits<int64_t>::min(), int64_t{-1},
                             std::numeric_limits<int64_t>::max(), last.sent_ns()}) {
    v1::ToWorker ack;
    ack.mutable_heartbeat_ack()->set_sent_ns(sent);
    link_.say(ack);
  }
  link_.say(dispatch_message(5));
  EXPECT_EQ(attendance_->next_task()->id(), 5);
  EXPECT_EQ(attendance_->round_trip(), 50);
}

TEST_F(AttendanceTest, AWishIsSentAndAGoodbyeEndsIt) {
  link_.script({.messages = {welcome_message({4})}, .end = {}});
  attend();
  EXPECT_EQ(attendance_->next_task()->id(), 4);
  attendance_->want(4);
  attendance_->leave("enough");
  const auto heard = link_.heard();
  ASSERT_EQ(heard.size(), 2u);
  EXPECT_EQ(heard[0].want().behind(), 4);
  EXPECT_EQ(heard[1].leave().reason(), "enough");
  EXPECT_TRUE(end().ok());
}

TEST_F(AttendanceTest, AStopEndsEveryWait) {
  attend();
  stop_ = true;
  EXPECT_TRUE(absl::IsCancelled(attendance_->wait_for_welcome().status()));
  EXPECT_FALSE(attendance_->next_task().has_value());
  EXPECT_TRUE(attendance_->end().ok());
}

TEST(Backoff, DoublesUpToEightSeconds) {
  Backoff backoff;
  for (const int64_t quarters : {1, 2, 4, 8, 16, 32, 32})
    EXPECT_EQ(backoff.next(), quarters * kNanosPerSecond / 4);
  backoff.reset();
  EXPECT_EQ(backoff.next(), kNanosPerSecond / 4);
}

TEST(Attendance, AnswersAreNotAskedForAgain) {
  using Code = absl::StatusCode;
  for (const Code code : {Code::kOk, Code::kInvalidArgument, Code::kNotFound, Code::kAlreadyExists,
                          Code::kPermissionDenied, Code::kFailedPrecondition, Code::kAborted,
                          Code::kOutOfRange, Code::kUnimplemented, Code::kUnauthenticated})
    EXPECT_FALSE(is_worth_another_try(Status(code, ""))) << code;
  for (const Code code :
       {Code::kUnavailable, Code::kDeadlineExceeded, Code::kCancelled, Code::kInternal,
        Code::kUnknown, Code::kDataLoss, Code::kResourceExhausted})
    EXPECT_TRUE(is_worth_another_try(Status(code, ""))) << code;
}

// ---- first contact

class UntilAnswered : public AttendanceTest {
 protected:
  UntilAnswered() {
    environment_.clock = [this] { return now_ += kNanosPerSecond; };
    environment_.patience = 60 * kNanosPerSecond;
  }
};

TEST_F(UntilAnswered, SaysOnceThatItTriesOn) {
  int tries = 0;
  EXPECT_TRUE(
      until_answered(environment_, [&] { return ++tries < 4 ? kCut : absl::OkStatus(); }).ok());
  EXPECT_EQ(tries, 4);
  EXPECT_THAT(notes(), ElementsAre(HasSubstr("[test] a cut; trying on")));
}

TEST_F(UntilAnswered, AnAnswerIsFinal) {
  for (const Status& answer :
       {absl::ResourceExhaustedError("memory"), absl::PermissionDeniedError("revoked")}) {
    int tries = 0;
    EXPECT_EQ(until_answered(environment_, [&] { return ++tries, answer; }), answer);
    EXPECT_EQ(tries, 1);
  }
}

TEST_F(UntilAnswered, EndsWithThePatienceOrAStop) {
  EXPECT_EQ(until_answered(environment_, [] { return kCut; }), kCut);
  EXPECT_GT(now_.load(), environment_.patience);
  int tries = 0;
  stop_ = true;
  EXPECT_EQ(until_answered(environment_, [&] { return ++tries, kCut; }), kCut);
  EXPECT_EQ(tries, 1);
}

}  // namespace
}  // namespace rubato

// The driver of a cluster on one thread, over files in memory: what it makes of events that come at
// awkward moments, and what a power cut leaves of it.
#include <future>
#include <thread>

#include "tests/rpc/cluster_rig.h"
#include "tests/sim/fixtures.h"
#include <gtest/gtest.h>

#include "rubato/base/digest.h"
#include "rubato/rpc/wire.h"
#include "rubato/store/memory_file_system.h"

namespace rubato {
namespace {

constexpr WorkerId kWorker(0);

class ClusterDriverTest : public testing::Test {
 protected:
  void open() {
    SimulationConfig training = toy_config();
    training.gate = {"free", {}};
    training.chain = {.links = {"delay_compensation"}, .rule = "nesterov", .options = {}};
    ClusterConfig config = cluster_config(training, *workload_, "/run");
    config.start_workers = 1;
    ClusterServices services;
    services.files = &files_;
    services.clock = [this] { return tick(); };
    services.sink = &sink_;
    services.note = [](const Notice&) {};
    auto cluster = Cluster::open(config, services, workload_->layout(), [this] {
      return StatusOr<std::vector<float>>(std::vector<float>(num_params_));
    });
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    cluster_ = std::move(*cluster);
  }
  // Drives the run until `stop_` is raised, then begins again as another process would.
  void run_and_reopen() {
    const auto end = cluster_->run(&stop_);
    EXPECT_TRUE(end.ok()) << end.status();
    reopen();
  }
  // What has been posted happens.
  void settle() {
    ticks_left_ = 20;
    run_and_reopen();
  }
  void reopen() {
    cluster_.reset();
    stop_ = false;
    open();
  }
  // A zero delta for all of the task.
  UpdateVerdict hand_in(const Task& task) {
    const std::string bytes(num_params_ * sizeof(float), '\0');
    const DeltaMeta meta{.codec = "fp32",
                         .codec_options = "",
                         .values = static_cast<int64_t>(num_params_),
                         .bytes = std::ssize(bytes),
                         .digest = digest_of(std::string_view(bytes))};
    auto upload = cluster_->spool().begin(task.id, meta);
    EXPECT_TRUE(upload.ok() && upload->append(0, bytes).ok() && upload->commit().ok());
    auto verdict = std::async(std::launch::async, [this, task] {
      const auto answer =
          cluster_->deliver(task.worker, {task.id, task.steps, task.steps, 1, {}}, 0, true);
      stop_ = true;
      return answer;
    });
    run_and_reopen();
    return verdict.get().value();
  }

  static StatusOr<v1::PushReply> push(Reception& reception, const Task& task,
                                      const std::vector<float>& delta) {
    const std::string_view bytes(reinterpret_cast<const char*>(delta.data()),
                                 delta.size() * sizeof(float));
    v1::DeltaHeader header;
    header.set_task(task.id.value());
    header.mutable_codec()->set_name("fp32");
    header.set_bytes(std::ssize(bytes));
    header.set_digest(digest_of(bytes));
    header.set_steps_done(task.steps);
    header.set_tokens(task.steps);
    header.set_train_ns(1);
    RUBATO_ASSIGN_OR_RETURN(const auto push, reception.push(task.worker, header));
    if (!push->answer())
      RUBATO_RETURN_IF_ERROR(push->add(make_chunk(0, std::ssize(bytes), bytes, nullptr)));
    return push->finish();
  }

  MemoryFileSystem files_;
  MemorySink sink_;
  std::unique_ptr<QuadraticWorkload> workload_ = quadratic_workload();
  const size_t num_params_ = static_cast<size_t>(workload_->layout().size());
  std::atomic<bool> stop_{false};
  std::unique_ptr<Cluster> cluster_;

 private:
  Nanos tick() {
    if (--ticks_left_ == 0) stop_ = true;
    return now_ += kNanosPerSecond / 1000;
  }
  Nanos now_ = 0;
  int ticks_left_ = 0;
};

// A chain that needs the version a task started from has it after any crash.
TEST_F(ClusterDriverTest, TheBaseOfATaskInFlightSurvivesAPowerCut) {
  open();
  cluster_->attend(kWorker, {});
  settle();
  ASSERT_EQ(cluster_->tasks_in_flight().size(), 1u);
  EXPECT_EQ(hand_in(cluster_->tasks_in_flight()[0]).kind, UpdateVerdict::Kind::kApplied);
  const std::vector<Task> tasks = cluster_->tasks_in_flight();
  ASSERT_EQ(tasks.size(), 1u);
  ASSERT_EQ(tasks[0].base, Version(1));

  cluster_.reset();
  files_.restart(CrashKeeps::kNothing);
  reopen();
  const auto base = cluster_->versions().read(Version(1));
  EXPECT_TRUE(base.ok()) << base.status();
  EXPECT_EQ(hand_in(tasks[0]).kind, UpdateVerdict::Kind::kApplied);
}

// It says goodbye, and is back before anybody has noticed.
TEST_F(ClusterDriverTest, AWorkerThatIsBackBeforeItsLossIsBookedGetsWork) {
  open();
  cluster_->attend(kWorker, {});
  settle();
  ASSERT_EQ(cluster_->tasks_in_flight().size(), 1u);
  cluster_->leave(kWorker);
  const Cluster::Seat seat =
      cluster_->attend(kWorker, {.ns_per_step = 1, .has_state = true, .held = {}});
  EXPECT_TRUE(seat.tasks.empty()) << "its task is about to be nobody's";
  settle();
  ASSERT_EQ(cluster_->tasks_in_flight().size(), 1u);
  const auto message = seat.box->take();
  ASSERT_TRUE(message && message->has_dispatch());
  EXPECT_EQ(message->dispatch().task().id(), cluster_->tasks_in_flight()[0].id.value());
}

// Two processes of one worker, or one that means ill: the delta that an event tells of stays.
TEST_F(ClusterDriverTest, AnotherDeltaOfATaskWaitsUntilTheFirstIsJudged) {
  open();
  cluster_->attend(kWorker, {});
  settle();
  ReceptionConfig config;
  const auto reception = Reception::make(*cluster_, config).value();
  const Task task = cluster_->tasks_in_flight().at(0);
  const std::vector<float> first(num_params_, 1), second(num_params_, 2);
  auto verdict = std::async(std::launch::async, [&] {
    const auto answer = push(*reception, task, first);
    stop_ = true;
    return answer;
  });
  while (cluster_->spool().list().empty() || !cluster_->spool().list()[0].complete)
    std::this_thread::yield();
  const auto refused = push(*reception, task, second);
  EXPECT_TRUE(absl::IsUnavailable(refused.status())) << refused.status();
  EXPECT_TRUE(cluster_->run(&stop_).ok());
  const auto reply = verdict.get();
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->verdict(), v1::PushReply::VERDICT_APPLIED);
  // Later it is told what became of the task.
  const auto late = push(*reception, task, second);
  ASSERT_TRUE(late.ok()) << late.status();
  EXPECT_EQ(late->verdict(), v1::PushReply::VERDICT_APPLIED);
}

}  // namespace
}  // namespace rubato

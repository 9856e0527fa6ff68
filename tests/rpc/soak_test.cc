// 64 synthetic workers that join, submit and leave at random against one coordinator. Twenty
// seconds here; ten minutes by
//   rpc_test --gtest_filter='Soak*' --soak-seconds=600
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <deque>
#include <limits>

#include "tests/rpc/cluster_rig.h"
#include "tests/rpc/grpc_rig.h"
#include "tests/rpc/local_link.h"
#include <gtest/gtest.h>

#include "rubato/base/digest.h"
#include "rubato/base/rng.h"
#include "rubato/rpc/replay.h"
#include "rubato/rpc/wire.h"

namespace rubato {
namespace {

constexpr int64_t kShortRunS = 20;
int64_t soak_seconds = kShortRunS;

constexpr int64_t kWorkers = 64;
constexpr int64_t kParams = 4096;

class NoSink final : public MetricsSink {
 public:
  void on_update(const UpdateRecord&) override {}
  void on_eval(const EvalRecord&) override {}
  void on_span(const TaskSpan&) override {}
  void on_event(const EventRecord&) override {}
  Status flush() override { return absl::OkStatus(); }
};

struct Tally {
  std::mutex mutex;
  std::vector<bool> applied;  // by task: a set of them all would outweigh the coordinator
  int64_t updates = 0, steps = 0, late = 0, sessions = 0;
  std::vector<std::string> errors;

  void count(const v1::DeltaHeader& header) {
    const auto task = static_cast<size_t>(header.task());
    if (applied.size() <= task) applied.resize(2 * task + 1);
    if (applied[task]) return;
    applied[task] = true;
    ++updates;
    steps += header.steps_done();
  }
  void error(std::string_view where, const Status& status) {
    const std::lock_guard lock(mutex);
    errors.push_back(cat(where, ": ", status.message()));
  }
};

// One worker: sessions of a few tasks, each ended in another way.
class Nomad {
 public:
  Nomad(Reception& reception, int64_t id, v1::Hello hello, const std::atomic<bool>& stop,
        Tally& tally)
      : link_(make_local_link(reception, WorkerId(id))),
        hello_(std::move(hello)),
        stop_(stop),
        tally_(tally),
        draws_(static_cast<uint64_t>(id), RngStream::kTest) {}

  void run() {
    while (!stop_) {
      session();
      pause(200);
    }
  }

 private:
  void pause(uint64_t most_ms) {
    std::this_thread::sleep_for(std::chrono::milliseconds(draws_.below(most_ms)));
  }

  void session() {
    hello_.set_has_state(draws_.below(2) == 0);
    const auto stream = link_->attend(hello_);
    if (!stream.ok()) return tally_.error("attend", stream.status());
    {
      const std::lock_guard lock(tally_.mutex);
      ++tally_.sessions;
    }
    std::deque<v1::Task> tasks;
    for (uint64_t left = 1 + draws_.below(20); left > 0 && !stop_; --left) {
      while (tasks.empty()) {
        const auto message = (*stream)->next();
        if (!message) return;  // the coordinator's end, or a lease that ran out
        for (const v1::Task& task : message->welcome().tasks()) tasks.push_back(task);
        if (message->has_dispatch()) tasks.push_back(message->dispatch().task());
      }
      const v1::Task task = tasks.front();
      tasks.pop_front();
      pause(20);
      if (draws_.below(10) == 0) return;  // lost in the middle of a task
      work(task);
      v1::FromWorker heartbeat;
      heartbeat.mutable_heartbeat()->set_task(task.id());
      (*stream)->send(heartbeat);
    }
    if (draws_.below(2) == 0) return;
    v1::FromWorker goodbye;
    goodbye.mutable_leave()->set_reason("moving on");
    (*stream)->send(goodbye);
  }

  // theta / 100, perhaps of fewer steps, perhaps after an upload that broke.
  void work(const v1::Task& task) {
    v1::FetchRequest request;
    request.set_version(task.fragments(0).base_version());
    request.mutable_codec()->set_name("fp32");
    std::string bytes;
    const Status fetched = link_->fetch(request, [&](const Chunk& chunk) {
      bytes += chunk.data;
      return absl::OkStatus();
    });
    if (absl::IsNotFound(fetched)) return;  // the task is somebody else's by now
    if (!fetched.ok()) return tally_.error("fetch", fetched);
    auto* floats = reinterpret_cast<float*>(bytes.data());
    for (int64_t i = 0; i < kParams; ++i) floats[i] /= 100;
    v1::DeltaHeader header;
    header.set_task(task.id());
    header.mutable_codec()->set_name("fp32");
    header.set_bytes(std::ssize(bytes));
    header.set_digest(digest_of(std::string_view(bytes)));
    header.set_steps_done(draws_.below(4) == 0 ? 1 : task.steps());
    header.set_tokens(header.steps_done());
    header.set_train_ns(1'000'000);
    if (draws_.below(8) == 0) push(header, bytes, 0, 2);
    push(header, bytes, offset_of(task.id()), std::numeric_limits<int64_t>::max());
  }

  int64_t offset_of(int64_t task) {
    v1::PushOffsetRequest request;
    request.set_task(task);
    const auto reply = link_->push_offset(request);
    if (!reply.ok()) tally_.error("offset", reply.status());
    return reply.ok() ? reply->offset() : 0;
  }

  // So many chunks of it; a part is refused at its end.
  void push(const v1::DeltaHeader& header, const std::string& bytes, int64_t offset,
            int64_t chunks) {
    constexpr int64_t kStep = 4096;
    const bool is_part = chunks < std::ssize(bytes) / kStep;
    const auto reply = link_->push(header, [&](Chunk& chunk) {
      if (offset >= std::ssize(bytes) || chunks-- == 0) return false;
      chunk = PeerRig::chunk_of(bytes, offset, kStep);
      offset += kStep;
      return true;
    });
    if (!reply.ok()) {
      if (!is_part) tally_.error("push", reply.status());
      return;
    }
    const std::lock_guard lock(tally_.mutex);
    if (reply->verdict() == v1::PushReply::VERDICT_APPLIED) {
      tally_.count(header);
    } else if (reply->reason() == v1::REJECT_REASON_SUPERSEDED) {
      ++tally_.late;
    } else {
      tally_.errors.push_back(cat("a verdict: ", reply->text()));
    }
  }

  std::unique_ptr<CoordinatorLink> link_;
  v1::Hello hello_;
  const std::atomic<bool>& stop_;
  Tally& tally_;
  Rng draws_;
};

int64_t median(std::vector<int64_t> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

class Soak : public testing::Test {
 protected:
  Soak() {
    layout_.add("theta", {kParams}, TensorRole::kMatrix);
    config_.directory = fresh_directory("soak");
    config_.digests = {.recipe = "recipe", .data = "data", .layout = layout_digest(layout_)};
    CoordinatorConfig& coordinator = config_.machine.coordinator;
    coordinator.local_steps = 4;
    coordinator.budget_steps = coordinator.schedule_steps = int64_t{1} << 40;
    coordinator.save_every_steps = 4000;
    config_.machine.gate = {"free", {}};
    config_.machine.num_workers = kWorkers;
    config_.machine.chain = {.links = {}, .rule = "delayed_nesterov", .options = {}};
    config_.shard_sequences = {5000, 5000, 5000, 5000};
    config_.lease = 2 * kNanosPerSecond;
    // Ten minutes of deltas are not kept; the replay then begins with the last snapshot.
    config_.keep_deltas = soak_seconds <= kShortRunS;
  }

  void open() {
    ClusterServices services;
    services.files = &files_;
    services.clock = test_clock;
    services.sink = &sink_;
    services.note = [](const Notice&) {};
    auto cluster = Cluster::open(config_, services, layout_, []() -> StatusOr<std::vector<float>> {
      return std::vector<float>(kParams, 1.0F);
    });
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    cluster_ = std::move(*cluster);
    ReceptionConfig config;
    config.hellos = {.burst = 1000, .interval = kNanosPerSecond / 1000};
    config.refusals = {.burst = 100'000, .interval = kNanosPerSecond / 1000};
    reception_ = *Reception::make(*cluster_, config);
  }

  v1::Hello hello() const {
    v1::Hello hello;
    hello.mutable_protocol()->set_first(kProtocolFirst);
    hello.mutable_protocol()->set_last(kProtocolLast);
    hello.set_run(cluster_->identity().run);
    hello.set_recipe_digest(config_.digests.recipe);
    hello.set_layout_digest(config_.digests.layout);
    hello.add_up_codecs("fp32");
    hello.add_down_codecs("fp32");
    hello.set_ns_per_step(1'000'000);
    return hello;
  }

  // RSS [bytes], looked at thirty times.
  std::vector<int64_t> run_workers(Tally& tally) {
    std::atomic<bool> stop{false};
    std::vector<std::thread> workers;
    for (int64_t id = 0; id < kWorkers; ++id) {
      workers.emplace_back([&, id] { Nomad(*reception_, id, hello(), stop, tally).run(); });
    }
    std::vector<int64_t> resident;
    for (int i = 0; i < 30; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1000 * soak_seconds / 30));
      resident.push_back(resident_bytes());
    }
    stop = true;
    for (std::thread& worker : workers) worker.join();
    return resident;
  }

  Layout layout_;
  ClusterConfig config_;
  PosixFileSystem files_;
  NoSink sink_;
  std::unique_ptr<Cluster> cluster_;
  std::unique_ptr<Reception> reception_;
};

TEST_F(Soak, NomadsLeaveAnExactLedgerAndNoMemoryBehind) {
  open();
  Tally tally;
  std::atomic<bool> stop{false};
  StatusOr<Cluster::End> end = absl::UnknownError("");
  std::thread driver([&] { end = cluster_->run(&stop); });
  const std::vector<int64_t> resident = run_workers(tally);
  stop = true;
  driver.join();
  ASSERT_TRUE(end.ok()) << end.status();

  for (const std::string& error : tally.errors) ADD_FAILURE() << error;
  const CoordinatorCounts counts = cluster_->counts();
  EXPECT_GT(tally.sessions, 2 * kWorkers);
  EXPECT_GT(counts.arrivals, 4 * kWorkers);
  EXPECT_EQ(counts.arrivals, tally.updates);
  EXPECT_EQ(counts.steps, tally.steps);
  EXPECT_EQ(counts.tokens, tally.steps);
  const auto report =
      replay(files_, config_, layout_,
             config_.keep_deltas ? ReplayFrom::kOldest : ReplayFrom::kNewest, nullptr);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->state_digest, cluster_->state_digest());
  EXPECT_TRUE(report->ledger.balanced());

  const std::vector<int64_t> second(resident.begin() + 10, resident.begin() + 20);
  const std::vector<int64_t> last(resident.begin() + 20, resident.end());
  constexpr int64_t kMib = 1 << 20;
  std::printf("%lld updates, %lld sessions, %lld late deltas; RSS %lld, %lld, %lld MiB\n",
              static_cast<long long>(counts.arrivals), static_cast<long long>(tally.sessions),
              static_cast<long long>(tally.late), static_cast<long long>(resident[9] / kMib),
              static_cast<long long>(median(second) / kMib),
              static_cast<long long>(median(last) / kMib));
#ifndef RUBATO_SANITIZED  // a sanitizer keeps what was freed
  EXPECT_LE(median(last), median(second) + 8 * kMib);
#endif
}

}  // namespace
}  // namespace rubato

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  constexpr std::string_view kFlag = "--soak-seconds=";
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument.starts_with(kFlag))
      rubato::soak_seconds = std::stoll(std::string(argument.substr(kFlag.size())));
  }
  return RUN_ALL_TESTS();
}

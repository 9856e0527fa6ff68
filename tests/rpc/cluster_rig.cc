#include "tests/rpc/cluster_rig.h"

#include <chrono>
#include <filesystem>

#include "tests/rpc/local_link.h"
#include <gtest/gtest.h>
#include <unistd.h>

#include "rubato/rpc/wire.h"

namespace rubato {

Nanos test_clock() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

std::string fresh_directory(const std::string& name) {
  // Tests of one name run at the same time, each in a process of its own.
  const std::string path = testing::TempDir() + cat("rubato-rpc-", name, "-", getpid());
  std::filesystem::remove_all(path);
  return path;
}

ClusterConfig cluster_config(const SimulationConfig& training, const Workload& workload,
                             const std::string& directory) {
  ClusterConfig config;
  config.directory = directory;
  config.machine = training;
  config.machine.coordinator.batch_sequences = training.worker.batch_sequences;
  config.machine.coordinator.inner_rewarm_steps = training.worker.inner_rewarm_steps;
  config.digests = {.recipe = "recipe", .data = "data", .layout = layout_digest(workload.layout())};
  config.shard_sequences = workload.shard_sequences();
  config.tokens_per_sequence = workload.tokens_per_sequence();
  config.start_workers = std::ssize(training.fleet);
  return config;
}

std::vector<ScriptedWorker> script_of(const SimulationConfig& training) {
  std::vector<ScriptedWorker> script;
  for (const SimWorker& worker : training.fleet)
    script.push_back(
        {worker.ns_per_step, worker.link, worker.join_at, worker.leave_at, worker.return_at});
  return script;
}

ClusterRig::ClusterRig(SimulationConfig training, const Workload& workload, ClusterConfig config,
                       FileSystem& files)
    : training_(std::move(training)),
      workload_(workload),
      config_(std::move(config)),
      files_(files),
      data_(workload.shard_sequences(), false, training_.coordinator.seed) {}

ClusterRig::~ClusterRig() {
  // While somebody still answers them they end at once.
  workers_stop_ = true;
  for (std::thread& worker : workers_) worker.join();
  stop_ = true;
  close();
}

Status ClusterRig::open() {
  ClusterServices services;
  services.files = &files_;
  services.clock = test_clock;
  services.sink = &sink_;
  services.note = [this](const Notice& notice) { notices_.add(notice); };
  RUBATO_ASSIGN_OR_RETURN(cluster_, Cluster::open(config_, services, workload_.layout(),
                                                  [this]() -> StatusOr<std::vector<float>> {
                                                    std::vector<float> theta(static_cast<size_t>(
                                                        workload_.layout().size()));
                                                    workload_.initialise(1, theta);
                                                    return theta;
                                                  }));
  ReceptionConfig reception;
  reception.heartbeat_interval = config_.lease / 15;
  RUBATO_ASSIGN_OR_RETURN(reception_, Reception::make(*cluster_, reception));
  return absl::OkStatus();
}

void ClusterRig::start() {
  stop_ = false;
  driver_ = std::thread([this] { end_ = cluster_->run(&stop_); });
}

StatusOr<Cluster::End> ClusterRig::wait() {
  driver_.join();
  return end_;
}

StatusOr<Cluster::End> ClusterRig::stop() {
  stop_ = true;
  StatusOr<Cluster::End> end = wait();
  return end;
}

void ClusterRig::close() {
  if (driver_.joinable()) driver_.join();
}

void ClusterRig::add_worker(int64_t id, Nanos min_step_ns, std::chrono::milliseconds push_delay,
                            std::function<void(v1::Hello&)> edit_hello) {
  results_.push_back(std::make_unique<Status>());
  workers_.emplace_back([this, id, min_step_ns, push_delay, edit_hello = std::move(edit_hello),
                         result = results_.back().get()] {
    const std::unique_ptr<CoordinatorLink> link =
        make_local_link(*reception_, WorkerId(id), push_delay, edit_hello);
    v1::DescribeRequest request;
    request.mutable_protocol()->set_first(kProtocolFirst);
    request.mutable_protocol()->set_last(kProtocolLast);
    const StatusOr<v1::RunDescription> run = link->describe(request);
    if (!run.ok()) {
      *result = run.status();
      return;
    }
    const WorkerConfig config{.worker = WorkerId(id),
                              .run = *run,
                              .settings = training_.worker,
                              .overlap = training_.coordinator.overlap,
                              .threads = 1,
                              .memory_bytes = 0,
                              .ns_per_step = std::max<Nanos>(min_step_ns, 1000),
                              .min_step_ns = min_step_ns,
                              .state_directory = ""};
    WorkerServices services;
    services.link = link.get();
    services.files = &files_;
    services.workload = &workload_;
    services.data = &data_;
    services.environment.clock = test_clock;
    services.environment.note = [](const Notice&) {};
    services.environment.stop = &workers_stop_;
    services.environment.patience = 20 * kNanosPerSecond;
    services.report = [](const TaskReport&) {};
    *result = work(config, services);
  });
}

std::vector<Status> ClusterRig::join_workers() {
  for (std::thread& worker : workers_) worker.join();
  workers_.clear();
  std::vector<Status> statuses;
  for (const auto& result : results_) statuses.push_back(*result);
  results_.clear();
  return statuses;
}

}  // namespace rubato

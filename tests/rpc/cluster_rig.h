// A cluster in one process: coordinator on a thread, workers on threads, a real directory.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "rubato/rpc/cluster.h"
#include "rubato/rpc/reception.h"
#include "rubato/rpc/worker_program.h"
#include "rubato/sim/simulation.h"
#include "rubato/store/posix_file_system.h"
#include "rubato/trainer/trainer.h"

namespace rubato {

/// Nanoseconds of a clock that never goes back.
Nanos test_clock();
/// A new empty directory for this test.
std::string fresh_directory(const std::string& name);

/// The cluster that makes what `training` simulates.
ClusterConfig cluster_config(const SimulationConfig& training, const Workload& workload,
                             const std::string& directory);
/// The workers of `training` as the virtual clock wants them.
std::vector<ScriptedWorker> script_of(const SimulationConfig& training);

/// What a cluster has said, for tests.
class Notices {
 public:
  void add(const Notice& notice) {
    const std::lock_guard lock(mutex_);
    list_.push_back(notice);
  }
  /// Texts of all that were called so, in order.
  std::vector<std::string> of(std::string_view event) const {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> texts;
    for (const Notice& notice : list_) {
      if (notice.event == event) texts.push_back(notice.text);
    }
    return texts;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<Notice> list_;
};

class ClusterRig {
 public:
  ClusterRig(SimulationConfig training, const Workload& workload, ClusterConfig config,
             FileSystem& files);
  ~ClusterRig();

  /// Opens the run; later the same directory again.
  Status open();
  Cluster& cluster() { return *cluster_; }
  Reception& reception() { return *reception_; }
  MemorySink& sink() { return sink_; }
  const Notices& notices() const { return notices_; }
  /// Drives the cluster on a thread of its own until stop() or the end.
  void start();
  /// Raises the stop flag and waits; then closes everything, as after a process ended.
  StatusOr<Cluster::End> stop();
  /// Waits for the end of the run.
  StatusOr<Cluster::End> wait();
  void close();

  /// Runs a worker on a thread until the run ends.
  void add_worker(int64_t id, Nanos min_step_ns = 0, std::chrono::milliseconds push_delay = {},
                  std::function<void(v1::Hello&)> edit_hello = {});
  std::vector<Status> join_workers();

 private:
  SimulationConfig training_;
  const Workload& workload_;
  ClusterConfig config_;
  FileSystem& files_;
  DataMap data_;
  MemorySink sink_;
  Notices notices_;
  std::unique_ptr<Cluster> cluster_;
  std::unique_ptr<Reception> reception_;
  std::atomic<bool> stop_{false}, workers_stop_{false};
  std::thread driver_;
  StatusOr<Cluster::End> end_ = absl::UnknownError("not run");
  std::vector<std::thread> workers_;
  std::vector<std::unique_ptr<Status>> results_;
};

}  // namespace rubato

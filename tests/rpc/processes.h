// A cluster of real processes, seen by the test that starts, kills and restarts them. The test's
// own process speaks no gRPC: it sees signals, exit codes and the files that actors.h names.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tests/rpc/actors/arguments.h"
#include <sys/types.h>

namespace rubato {

/// How a process ended: a signal, or else an exit code.
struct Exit {
  int code = 0;
  int signal = 0;
};

/// A child that does not outlive this object.
class Process {
 public:
  /// What it prints goes behind what is in `log`.
  Process(const std::vector<std::string>& words, const std::string& log);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void signal(int number);
  /// Nothing while it lives.
  std::optional<Exit> ended();
  /// Blocks.
  Exit wait();

 private:
  pid_t pid_ = -1;
  std::optional<Exit> exit_;
};

/// One coordinator, its workers, their directory. Every wait fails the test after two minutes.
class ClusterProcesses {
 public:
  /// `words` for every process: actors/scene.h.
  ClusterProcesses(const std::string& name, Facts words, int workers);
  ~ClusterProcesses();

  /// `fault` as Trap has it. The one before has ended or ends now.
  void start_coordinator(const std::string& fault = "");
  void start_worker(int worker, const std::string& fault = "");
  void start_workers();
  Process& coordinator() { return *coordinator_; }
  Process& worker(int worker) { return *workers_.at(static_cast<size_t>(worker)); }
  int num_workers() const { return static_cast<int>(workers_.size()); }
  void set_word(const std::string& key, const std::string& value) { words_[key] = value; }

  /// Until the coordinator that was started last has recovered.
  bool wait_until_listening();
  /// kill -9
  void kill_coordinator();
  void kill_workers();
  /// SIGTERM to the coordinator; its result once it has ended in order.
  Facts stop_coordinator();
  /// The result of a coordinator that ends by itself.
  Facts wait_for_result();
  /// What a process of its own finds in journal and deltas.
  Facts replay();

  /// Tasks of which the worker has seen that they were applied; of all workers.
  std::set<int64_t> acknowledged(int worker) const;
  std::set<int64_t> acknowledged() const;
  /// Lines of a file in the run's directory.
  std::vector<std::string> lines(const std::string& name) const;
  std::string path(const std::string& name) const;

  /// Looks again until `done`; false, and a failure that says `what`, when that takes too long or a
  /// process ends that is not expected to.
  bool wait_until(const std::string& what, const std::function<bool()>& done);
  /// Until so many more tasks of all workers are acknowledged.
  bool wait_for_progress(int64_t more);

 private:
  std::vector<std::string> words_of(const std::string& role, const std::string& fault) const;
  void enrol_workers(int workers);
  int64_t times_listening() const;
  std::string last_words() const;

  Facts words_;
  std::string directory_;
  std::vector<std::string> tokens_;
  std::unique_ptr<Process> coordinator_;
  int64_t listened_before_ = 0;  // coordinators, before the last one
  std::vector<std::unique_ptr<Process>> workers_;
};

/// The run is where its journal says: equal digests and counts, and an exact ledger in which
/// nothing is assigned that is not in flight.
void expect_same_state(const Facts& result, const Facts& replayed);
/// Every acknowledged delta is among those that a result or a replay has applied, and none of these
/// is there twice.
void expect_applied(const Facts& facts, const std::set<int64_t>& acknowledged);

}  // namespace rubato

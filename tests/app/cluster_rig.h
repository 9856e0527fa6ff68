// A cluster of real processes over TLS, with logs that a program can read: what tests of its
// operation share.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/app/process.h"
#include "tests/store/temporary_directory.h"
#include <nlohmann/json.hpp>

namespace rubato {

class RunningCluster {
 public:
  /// A coordinator on the quadratic workload, at a port of its own; waits until it listens.
  explicit RunningCluster(const std::vector<std::string>& more = {});

  /// Again, in the same directory at the same port.
  void restart_coordinator();
  Process& coordinator() { return *coordinator_; }
  /// Invited, then started; a local step takes so long. `launcher`: what stands before rubato.
  void add_worker(double min_step_s, const std::vector<std::string>& more = {},
                  std::vector<std::string> launcher = {});
  Process& worker(size_t i) { return *workers_.at(i); }

  /// Lines of a process's log that are called so; every line has to be an object.
  std::vector<nlohmann::json> logged(const std::string& who, const std::string& event) const;
  /// What `who` has printed: coordinator, worker-0, ..
  std::string log(const std::string& who) const { return contents(path(who + ".txt")); }
  std::vector<std::string> secrets() const { return secrets_; }

  /// `rubato ARGS..` to its end: exit code and output.
  struct Answer {
    int code = 0;
    std::string text;
  };
  Answer rubato(const std::vector<std::string>& args) const;
  nlohmann::json status() const;
  /// Looks again for up to 30 s.
  static bool eventually(const std::function<bool()>& done);

  std::string run_directory() const { return path("run"); }
  std::string path(const std::string& name) const { return directory_.path() + "/" + name; }

 private:
  void start_coordinator(const std::string& listen);

  TemporaryDirectory directory_;
  std::vector<std::string> more_;
  std::vector<std::string> secrets_;
  std::unique_ptr<Process> coordinator_;
  std::vector<std::unique_ptr<Process>> workers_;
};

}  // namespace rubato

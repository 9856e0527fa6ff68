// The program as a process of its own, for tests.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

namespace rubato {

/// A whole file; "" when there is none.
std::string contents(const std::string& path);

/// `rubato ARGS..`, running.
class Process {
 public:
  /// Another program, found by the path, and its arguments; such as mpirun in front of rubato.
  static Process of(std::vector<std::string> command, const std::string& output);
  /// Both streams go to the file `output`. `closed`: a standard stream that it starts without.
  Process(std::vector<std::string> args, const std::string& output, std::optional<int> closed = {});
  /// Whoever is still running is killed.
  ~Process();
  Process(Process&& other) noexcept;
  Process& operator=(Process&&) = delete;

  void signal(int number);
  /// Whether it has a handler of its own.
  bool catches(int number) const;
  /// Its exit code, or minus the signal that ended it; once.
  int wait();

 private:
  Process() = default;
  void start(std::vector<std::string> command, const std::string& output,
             std::optional<int> closed);

  pid_t pid_ = 0;  // 0: waited for
};

}  // namespace rubato

#include "tests/app/process.h"

#include <csignal>
#include <fstream>
#include <sstream>
#include <utility>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>

extern char** environ;

namespace rubato {

std::string contents(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

Process::Process(std::vector<std::string> args, const std::string& output,
                 std::optional<int> closed) {
  args.insert(args.begin(), std::string(RUBATO_BINARY_DIR) + "/rubato");
  start(std::move(args), output, closed);
}

Process Process::of(std::vector<std::string> command, const std::string& output) {
  Process process;
  process.start(std::move(command), output, std::nullopt);
  return process;
}

void Process::start(std::vector<std::string> command, const std::string& output,
                    std::optional<int> closed) {
  std::vector<char*> argv;
  for (std::string& arg : command) argv.push_back(arg.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  if (closed) posix_spawn_file_actions_addclose(&actions, *closed);
  EXPECT_EQ(posix_spawnp(&pid_, argv[0], &actions, nullptr, argv.data(), environ), 0);
  posix_spawn_file_actions_destroy(&actions);
}

Process::~Process() {
  if (pid_ == 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

Process::Process(Process&& other) noexcept : pid_(std::exchange(other.pid_, 0)) {}

void Process::signal(int number) { EXPECT_EQ(kill(pid_, number), 0); }

bool Process::catches(int number) const {
  std::istringstream status(contents("/proc/" + std::to_string(pid_) + "/status"));
  for (std::string word; status >> word;) {
    if (word != "SigCgt:") continue;
    status >> word;
    return (std::stoull(word, nullptr, 16) >> (number - 1) & 1) != 0;
  }
  return false;
}

int Process::wait() {
  int status = 0;
  EXPECT_EQ(waitpid(pid_, &status, 0), pid_);
  pid_ = 0;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

}  // namespace rubato

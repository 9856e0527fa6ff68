#include "rubato/bench/forked.h"

#include <csignal>
#include <ctime>
#include <fstream>
#include <string>

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace rubato {

std::shared_ptr<void> share_memory(size_t bytes) {
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  return {memory, [bytes](void* start) { ::munmap(start, bytes); }};
}

StatusOr<ForkedProcess> ForkedProcess::start(const std::function<void()>& work) {
  const pid_t pid = ::fork();
  if (pid < 0) return absl::ResourceExhaustedError("[bench] got no further process");
  if (pid > 0) return ForkedProcess(pid);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  work();
  // What the parent set up is the parent's to tear down.
  ::_exit(0);
}

ForkedProcess::~ForkedProcess() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  wait();
}

bool ForkedProcess::wait() {
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) continue;
  pid_ = -1;
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int64_t private_memory_bytes(pid_t pid) {
  std::ifstream status(cat("/proc/", pid, "/status"));
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssAnon:")) return std::stoll(line.substr(8)) * 1024;
  }
  return 0;
}

int64_t cpu_ns(pid_t pid) {
  clockid_t clock{};
  timespec time{};
  if (::clock_getcpuclockid(pid, &clock) != 0 || ::clock_gettime(clock, &time) != 0) return 0;
  return time.tv_sec * int64_t{1'000'000'000} + time.tv_nsec;
}

}  // namespace rubato

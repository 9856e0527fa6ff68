// rubato: see program.h and the commands beside it.
#include <atomic>
#include <csignal>
#include <cstdint>
#include <ctime>
#include <iostream>
#include <string>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include "rubato/app/program.h"
#include "rubato/lm/runtime.h"

namespace {

std::atomic<bool> g_interrupted{false};
std::atomic<int64_t> g_interrupted_at_s{0};
static_assert(std::atomic<int64_t>::is_always_lock_free, "a signal handler sets it");

// The first signal asks for an orderly end, one that comes later kills. Shells and `timeout` may
// deliver one Ctrl-C twice, so what follows within two seconds is the same wish.
void on_signal(int signal_number) {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  if (!g_interrupted.exchange(true)) {
    g_interrupted_at_s = now.tv_sec;
  } else if (now.tv_sec > g_interrupted_at_s + 1) {
    std::signal(signal_number, SIG_DFL);
    raise(signal_number);
  }
}

const std::atomic<bool>* watch_interrupts() {
  struct sigaction action = {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  return &g_interrupted;
}

// The first file that is opened would take the number of a stream that is closed, and what is
// printed would land in it. Opened for reading only, so that results which go nowhere are an error.
void occupy_closed_streams() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(fd, F_GETFD) == -1) open("/dev/null", O_RDONLY);  // takes the lowest number: fd
  }
}

}  // namespace

int main(int argc, char** argv) {
  occupy_closed_streams();
  rubato::prepare_process();
  const std::vector<std::string> args(argv + 1, argv + argc);
  return rubato::run_program(args,
                             {std::cout, std::cerr, isatty(STDERR_FILENO) == 1, watch_interrupts});
}

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
std::atomic<int> g_interrupted_by{0};
std::atomic<int64_t> g_interrupted_at_ms{0};
static_assert(std::atomic<int64_t>::is_always_lock_free, "a signal handler sets it");
constexpr int64_t kSameWishMs = 500;

// The first signal asks for an orderly end; another one kills, for the command may be where it
// cannot look at the flag. Shells and `timeout` deliver one Ctrl-C twice, within moments: that is
// the same wish.
void on_signal(int signal_number) {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  const int64_t now_ms = now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
  if (!g_interrupted.exchange(true)) {
    g_interrupted_by = signal_number;
    g_interrupted_at_ms = now_ms;
  } else if (signal_number != g_interrupted_by || now_ms > g_interrupted_at_ms + kSameWishMs) {
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
  return rubato::run_program(args, {std::cout, std::cerr, isatty(STDERR_FILENO) == 1,
                                    argc > 0 ? argv[0] : "rubato", watch_interrupts});
}

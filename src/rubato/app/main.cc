// rubato: see program.h and the commands beside it.
#include <atomic>
#include <csignal>
#include <iostream>
#include <string>
#include <vector>

#include <unistd.h>

#include "rubato/app/program.h"

namespace {

std::atomic<bool> g_interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler sets it");

// The first signal asks for an orderly end; the second finds the default action and kills.
void catch_once(int signal_number) {
  struct sigaction action = {};
  action.sa_handler = [](int) { g_interrupted = true; };
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
  sigaction(signal_number, &action, nullptr);
}

}  // namespace

int main(int argc, char** argv) {
  catch_once(SIGINT);
  catch_once(SIGTERM);
  const std::vector<std::string> args(argv + 1, argv + argc);
  return rubato::run_program(args,
                             {std::cout, std::cerr, isatty(STDERR_FILENO) == 1, &g_interrupted});
}

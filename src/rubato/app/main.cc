// rubato: see program.h and the commands beside it.
#include <iostream>
#include <string>
#include <vector>

#include <unistd.h>

#include "rubato/app/program.h"

int main(int argc, char** argv) {
  const std::vector<std::string> args(argv + 1, argv + argc);
  return rubato::run_program(args, {std::cout, std::cerr, isatty(STDERR_FILENO) == 1});
}

#include "rubato/app/processor.h"

#include <fstream>
#include <thread>

#include "rubato/base/text.h"

namespace rubato {

std::string processor_name() {
  std::ifstream cpus("/proc/cpuinfo");
  std::string name = "unknown processor";
  for (std::string line; std::getline(cpus, line);) {
    const size_t colon = line.find(": ");
    if (!line.starts_with("model name") || colon == std::string::npos) continue;
    name = line.substr(colon + 2);
    break;
  }
  return cat(name, ", ", std::thread::hardware_concurrency(), " threads");
}

}  // namespace rubato

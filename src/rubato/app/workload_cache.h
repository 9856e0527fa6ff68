// Workloads by what they are made of. The methods of a comparison or a tuning nearly always share
// one, and generating or checking its data again would only take time; one whose overlay says
// another inner optimizer or model gets a workload of its own.
#pragma once

#include <map>
#include <string>

#include "rubato/app/build.h"

namespace rubato {

class WorkloadCache {
 public:
  explicit WorkloadCache(int threads) : threads_(threads) {}

  /// The workload of `recipe`, built when it is asked for first; lives as long as the cache.
  StatusOr<const BuiltWorkload*> get(const Recipe& recipe);

 private:
  int threads_;
  std::map<std::string, BuiltWorkload> built_;
};

}  // namespace rubato

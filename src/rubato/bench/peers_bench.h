// The training step beside those of other programs, of the same or the nearest shape, in one run: a
// shared machine moves by tens of percent, so only times taken in turns compare. Nothing of the
// peers is part of this project; the user names where they lie.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "rubato/base/status.h"
#include "rubato/bench/engine_bench.h"
#include "rubato/trainer/inner_optimizer.h"

namespace rubato {

struct PeerOptions {
  int threads = 2;
  double seconds = 3;  // of measured steps, for each measurement
  std::string llm_c;   // folder of llm.c's sources; "": not run
  std::string python;  // an interpreter that has PyTorch 2; "": not run
};

struct PeerRow {
  std::string shape;
  std::string peer;              // llm.c, PyTorch eager, PyTorch compile
  std::string settings;          // those that were fastest for it
  double tokens_per_s = 0;       // ours: median step, better of before and after
  double peer_tokens_per_s = 0;  // median step
  double ratio = 0;              // ours / the peer's
};

/// A row for every peer that was named and every shape. FailedPrecondition with the peer's own
/// words when it does not build or run.
StatusOr<std::vector<PeerRow>> bench_peers(std::span<const EngineShape> shapes,
                                           const std::shared_ptr<const InnerOptimizer>& optimizer,
                                           const PeerOptions& options);

}  // namespace rubato

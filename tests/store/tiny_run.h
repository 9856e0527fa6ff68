// A run of a few numbers for the tests of checkpoints: a layout, theta, and state of every kind.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "rubato/base/layout.h"
#include "rubato/base/state_walk.h"
#include "rubato/store/checkpoint.h"

namespace rubato {

inline Layout tiny_layout(int64_t rows = 2) {
  Layout layout;
  layout.add("model.embed_tokens.weight", {rows, 3}, TensorRole::kEmbedding);
  layout.add("model.norm.weight", {3}, TensorRole::kNorm);
  return layout;
}

/// What a run has after some steps: every number depends on the step.
struct TinyRun {
  int64_t step = 0;
  std::vector<float> theta = std::vector<float>(9);
  std::vector<float> momentum = std::vector<float>(9), adam = std::vector<float>(4), nothing;
  int64_t arrivals = 0;
  double scale = 0;
  std::string ledger;

  static TinyRun at(int64_t step) {
    TinyRun run;
    run.step = step;
    for (size_t i = 0; i < run.theta.size(); ++i) {
      run.theta[i] = static_cast<float>(step) + 0.25f * static_cast<float>(i);
      run.momentum[i] = -run.theta[i];
    }
    for (float& value : run.adam) value = static_cast<float>(step) * 1e-3f;
    run.arrivals = -step;
    run.scale = std::sqrt(static_cast<double>(step));
    run.ledger = std::string(static_cast<size_t>(step % 5), '\0') + cat("step ", step, "\xff");
    return run;
  }

  void walk_state(StateWalk& walk) {
    walk.record("coordinator.ledger", ledger);
    walk.plane("outer/momentum", momentum);
    walk.counter("arrivals", arrivals);
    walk.plane("nothing", nothing);
    walk.scalar("scale", scale);
    walk.plane("worker 0.adam", adam);
  }
  StateVisit visit() {
    return [this](StateWalk& walk) { walk_state(walk); };
  }
  CheckpointMeta meta() const {
    return {step, "build", "recipe", "data", {{"tokens", cat(step * 128)}}};
  }
  Status write(FileSystem& files, const std::string& run_dir) {
    return write_checkpoint(files, run_dir, meta(), tiny_layout(), theta, visit());
  }
  /// All that is in a checkpoint.
  static StatusOr<TinyRun> read(FileSystem& files, const std::string& checkpoint_dir) {
    RUBATO_ASSIGN_OR_RETURN(const CheckpointReader reader, open_checkpoint(files, checkpoint_dir));
    TinyRun run;
    run.step = reader.meta().step;
    RUBATO_RETURN_IF_ERROR(reader.read_theta(tiny_layout(), run.theta));
    RUBATO_RETURN_IF_ERROR(reader.restore(run.visit()));
    return run;
  }
  friend bool operator==(const TinyRun&, const TinyRun&) = default;
};

}  // namespace rubato

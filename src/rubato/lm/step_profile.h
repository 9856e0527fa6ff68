// Where the time of a training step goes, by part, for benchmarks. The caller's clock is read
// between two parts, about a hundred times a microbatch, and only when there is one.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace rubato {

enum class StepPart {
  kWeights,      // transposing them for the forward pass
  kEmbedding,    // gathering rows, scattering their gradients
  kNorms,        // RMSNorm
  kProjections,  // the layers' matrix products
  kAttention,    // packing, rotation, scores, mixing
  kSwiglu,
  kHead,       // logits, softmax and loss, their gradients
  kLanes,      // adding the lanes' gradients, their squares
  kOptimizer,  // clipping and the update
};

inline constexpr std::array<std::string_view, 9> kStepPartNames = {
    "weights", "embedding", "norms", "projections", "attention",
    "swiglu",  "head",      "lanes", "optimizer"};

/// [ns] of all threads together, by StepPart.
using PartTimes = std::array<int64_t, kStepPartNames.size()>;

/// [ns] of a clock that never goes back; any thread calls it.
using ReadClock = int64_t (*)();

/// One thread's stopwatch: each lap belongs to the part that ends with it. Without a clock it
/// counts nothing.
class PartClock {
 public:
  explicit PartClock(ReadClock read = nullptr) : read_(read) {}

  void begin() {
    if (read_ != nullptr) last_ = read_();
  }
  void lap(StepPart part) {
    if (read_ == nullptr) return;
    const int64_t at = read_();
    times_[static_cast<size_t>(part)] += at - last_;
    last_ = at;
  }
  void add_to(PartTimes& sum) const {
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += times_[i];
  }

 private:
  ReadClock read_;
  int64_t last_ = 0;
  PartTimes times_{};
};

}  // namespace rubato

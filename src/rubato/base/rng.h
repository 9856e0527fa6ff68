// Counter-based random numbers: Philox4x32-10. The n-th draw of (seed, stream) is a pure function
// of the three, so a draw can be keyed by what it is for (a task, a tensor) and never depends on
// the order of other draws. Distributions are our own: the standard library's differ between
// implementations. Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
#pragma once

#include <array>
#include <cstdint>

namespace rubato {

/// What a stream is for; keeps streams of one seed apart. Values are part of every recipe's bits.
enum class RngStream : uint32_t {
  kParameters = 1,
  kShardSampling = 2,
  kPermutation = 3,
  kSyntheticData = 4,
  kGeneration = 5,
  kTest = 6,
  kSplit = 7,
};

class Rng {
 public:
  /// `key` tells apart draws of one stream (a task id, a tensor index).
  Rng(uint64_t seed, RngStream stream, uint64_t key = 0);

  uint64_t next_u64();
  /// Uniform in [0, bound) without modulo bias; bound >= 1.
  uint64_t below(uint64_t bound);
  /// Uniform in [0, 1) with 53 bits.
  double uniform();
  /// Normal with mean 0 and standard deviation 1 (Box-Muller).
  double normal();

 private:
  void refill();

  std::array<uint32_t, 2> key_;
  std::array<uint32_t, 4> counter_;
  std::array<uint64_t, 2> buffer_{};
  int buffered_ = 0;
  double spare_normal_ = 0;
  bool has_spare_ = false;
};

/// 64 well-mixed bits of three words; for keys and permutations.
uint64_t mix_bits(uint64_t a, uint64_t b, uint64_t c);

}  // namespace rubato

// Error feedback: what a lossy codec leaves out of one pseudo-gradient is added to the next, so
// that nothing is lost for good. It stays at the worker that made the deltas.
//   compensated = delta + residual;  sent = decode(encode(compensated))
//   applied:   residual = compensated - sent
//   rejected:  residual stays, bit for bit, as if nothing had been sent
// A rejected delta is dropped whole, what was left out of it too: it was not finite or far too
// long, and must not come back bit by bit; or it came too late, and its data is somebody else's by
// now. "Applied" is what the coordinator counts so, whatever weight or discount it applied it with.
// Source: arXiv:1809.07599 Alg. 1; arXiv:1901.09847.
// Memory: 2 P floats (residual, candidate), none for a lossless codec. State: 1 P, 2 P while the
// answer is awaited.
// Invariant: the deltas applied sum to what was sent + last residual - first one, up to rounding
// (ErrorFeedback.* in error_feedback_test).
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "rubato/base/parallel.h"
#include "rubato/base/state_walk.h"
#include "rubato/codec/codec.h"

namespace rubato {

class ErrorFeedback {
 public:
  /// For deltas of `num_params` values; the residual is zero.
  ErrorFeedback(std::shared_ptr<const Codec> codec, int64_t num_params);

  /// Writes the encoding of `delta` [P] and residual; `encoded` has encoded_bytes(P). The answer to
  /// the one before must be known. Parallel over blocks when `pool` is given; the bits do not
  /// depend on it. Allocates nothing.
  void encode(std::span<const float> delta, std::span<std::byte> encoded, ThreadPool* pool);
  /// An encoding's fate is not known yet: just one of commit() and roll_back() is due.
  bool pending() const { return pending_ != 0; }
  /// It was applied.
  void commit();
  /// It was rejected, discarded or given up.
  void roll_back();

  /// Another worker's from now on: nothing is left over and nothing on its way.
  void reset();

  const Codec& codec() const { return *codec_; }
  std::span<const float> residual() const { return residual_; }  // [P], empty when lossless
  void walk_state(StateWalk& walk);

 private:
  void encode_chunk(std::span<const float> delta, int64_t begin, std::span<std::byte> encoded);

  std::shared_ptr<const Codec> codec_;
  int64_t num_params_;
  int64_t pending_ = 0;           // 1 while an answer is awaited
  std::vector<float> residual_;   // [P]
  std::vector<float> candidate_;  // [P], the residual if the delta is applied
};

}  // namespace rubato

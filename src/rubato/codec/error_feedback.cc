#include "rubato/codec/error_feedback.h"

#include <algorithm>

#include "rubato/base/flat_ops.h"
#include "rubato/base/float_env.h"
#include "rubato/base/multiversion.h"

namespace rubato {
namespace {

// 64 KiB of delta: encoded, decoded and subtracted while it is hot.
constexpr int64_t kChunkFloats = 4 * kBlockFloats;

RUBATO_MULTIVERSION void add_residual(float* __restrict out, const float* __restrict delta,
                                      const float* __restrict residual, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = delta[i] + residual[i];
}

RUBATO_MULTIVERSION void subtract_sent(float* __restrict out, const float* __restrict sent,
                                       int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] -= sent[i];
}

}  // namespace

ErrorFeedback::ErrorFeedback(std::shared_ptr<const Codec> codec, int64_t num_params)
    : codec_(std::move(codec)),
      num_params_(num_params),
      residual_(codec_->lossless() ? 0 : static_cast<size_t>(num_params)),
      candidate_(residual_.size()) {}

void ErrorFeedback::encode(std::span<const float> delta, std::span<std::byte> encoded,
                           ThreadPool* pool) {
  RUBATO_CHECK(!pending(), "the answer to the last delta is not known");
  RUBATO_CHECK(std::ssize(delta) == num_params_);
  RUBATO_CHECK(std::ssize(encoded) == codec_->encoded_bytes(num_params_));
  const int64_t blocks = (kChunkFloats + codec_->block_values() - 1) / codec_->block_values();
  const int64_t chunk_values = blocks * codec_->block_values();
  const int64_t chunk_bytes = blocks * codec_->block_bytes();
  const auto run = [&](int64_t chunk) {
    const int64_t begin = chunk * chunk_values, at = chunk * chunk_bytes;
    const int64_t size = std::min(chunk_values, num_params_ - begin);
    encode_chunk(delta.subspan(begin, size), begin,
                 encoded.subspan(at, std::min(chunk_bytes, std::ssize(encoded) - at)));
  };
  const int64_t chunks = (num_params_ + chunk_values - 1) / chunk_values;
  if (pool != nullptr && chunks > 1) {
    pool->for_each(chunks, run);
  } else {
    flush_denormals();
    for (int64_t chunk = 0; chunk < chunks; ++chunk) run(chunk);
  }
  pending_ = 1;
}

void ErrorFeedback::encode_chunk(std::span<const float> delta, int64_t begin,
                                 std::span<std::byte> encoded) {
  if (codec_->lossless()) return codec_->encode(delta, encoded);
  alignas(64) float sent[kBlockFloats];
  const std::span<float> candidate = std::span(candidate_).subspan(begin, delta.size());
  add_residual(candidate.data(), delta.data(), residual_.data() + begin, std::ssize(delta));
  codec_->encode(candidate, encoded);
  for (int64_t at = 0; at < std::ssize(delta); at += kBlockFloats) {
    const int64_t size = std::min(kBlockFloats, std::ssize(delta) - at);
    codec_->decode(encoded, at, {sent, static_cast<size_t>(size)});
    subtract_sent(candidate.data() + at, sent, size);
  }
}

void ErrorFeedback::commit() {
  RUBATO_CHECK(pending(), "no delta is on its way");
  residual_.swap(candidate_);
  pending_ = 0;
}

void ErrorFeedback::roll_back() {
  RUBATO_CHECK(pending(), "no delta is on its way");
  pending_ = 0;
}

void ErrorFeedback::reset() {
  std::ranges::fill(residual_, 0.0F);
  pending_ = 0;
}

void ErrorFeedback::walk_state(StateWalk& walk) {
  walk.counter("pending", pending_);
  if (pending_ != 0 && pending_ != 1) {
    walk.refuse(absl::InvalidArgumentError(
        cat("[error feedback] pending: got ", pending_, ", want 0 or 1")));
    pending_ = 0;
  }
  walk.plane("residual", residual_);
  walk.plane("candidate", std::span(candidate_).first(pending() ? candidate_.size() : 0));
}

}  // namespace rubato

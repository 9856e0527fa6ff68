#include "rubato/sim/uplink.h"

#include <algorithm>

#include "rubato/base/flat_ops.h"
#include "rubato/server/encoded_delta.h"

namespace rubato {
namespace {

std::span<const std::byte> bytes_of(const SentDelta& sent) {
  return std::as_bytes(std::span(sent.encoded));
}

}  // namespace

Uplink::Uplink(std::shared_ptr<const Codec> codec, int64_t num_params, size_t workers)
    : codec_(std::move(codec)), num_params_(num_params) {
  if (codec_->lossless()) return;
  for (size_t i = 0; i < workers; ++i) feedback_.emplace_back(codec_, num_params);
}

SentDelta Uplink::send(const TaskRun& run, ThreadPool* pool) {
  if (codec_->lossless()) return {.encoded = "", .norm = run.norm(), .finite = run.finite()};
  SentDelta sent;
  sent.encoded.resize(static_cast<size_t>(codec_->encoded_bytes(num_params_)));
  feedback_of(run.task().worker)
      .encode(run.delta(), std::as_writable_bytes(std::span(sent.encoded)), pool);
  NormAccumulator norm;
  alignas(64) float block[kBlockFloats];
  for (int64_t at = 0; at < num_params_; at += kBlockFloats) {
    const std::span<float> piece(block, std::min(kBlockFloats, num_params_ - at));
    codec_->decode(bytes_of(sent), at, piece);
    norm.add(piece);
  }
  sent.norm = norm.norm();
  sent.finite = norm.finite();
  return sent;
}

void Uplink::settle(WorkerId worker, bool counts) {
  if (codec_->lossless()) return;
  counts ? feedback_of(worker).commit() : feedback_of(worker).roll_back();
}

void Uplink::lose(WorkerId worker) {
  if (!codec_->lossless()) feedback_of(worker).reset();
}

std::unique_ptr<DeltaSource> Uplink::values(const TaskRun& run, const SentDelta& sent) const {
  if (codec_->lossless()) return std::make_unique<PlainDelta>(run.delta());
  return std::make_unique<EncodedDelta>(*codec_, bytes_of(sent), num_params_);
}

void Uplink::walk_state(StateWalk& walk) {
  for (size_t i = 0; i < feedback_.size(); ++i) {
    PrefixedWalk feedback(walk, cat("worker.", i, ".feedback."));
    feedback_[i].walk_state(feedback);
  }
}

void Uplink::walk_sent(StateWalk& walk, const TaskRun& run, bool arrived, SentDelta& sent) const {
  if (codec_->lossless()) {
    sent.norm = run.norm();
    return;
  }
  walk.scalar("sent_norm", sent.norm);
  walk.record("encoded", sent.encoded);
  const int64_t want = arrived ? codec_->encoded_bytes(num_params_) : 0;
  if (std::ssize(sent.encoded) == want) return;
  walk.refuse(
      absl::InvalidArgumentError(cat("[simulation] encoding of task ", run.task().id, ": got ",
                                     sent.encoded.size(), " bytes, want ", want)));
  sent.encoded.resize(static_cast<size_t>(want));
}

}  // namespace rubato

#include "rubato/lm/generate.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "rubato/base/flat_ops.h"
#include "rubato/base/float_env.h"
#include "rubato/base/rng.h"
#include "rubato/lm/arena.h"
#include "rubato/lm/gemm.h"
#include "rubato/lm/kernels/rows.h"

namespace rubato {

IncrementalDecoder::IncrementalDecoder(const ModelConfig& config, std::span<const float> params,
                                       int64_t max_positions)
    : config_(config),
      offsets_(config, model_layout(config)),
      params_(params),
      max_positions_(max_positions),
      q_width_(config.heads * config.head_dim),
      kv_width_(config.kv_heads * config.head_dim),
      keys_(config.layers * max_positions * kv_width_),
      values_(config.layers * max_positions * kv_width_),
      x_(config.width),
      normed_(config.width),
      qkv_(q_width_ + 2 * kv_width_),
      mixed_(q_width_),
      gate_up_(2 * config.ffn),
      active_(config.ffn),
      scores_(max_positions),
      logits_(config.vocab) {}

StatusOr<std::unique_ptr<IncrementalDecoder>> IncrementalDecoder::make(
    const ModelConfig& config, std::span<const float> params, int64_t max_positions) {
  RUBATO_RETURN_IF_ERROR(validate(config));
  const int64_t want = model_layout(config).size();
  if (static_cast<int64_t>(params.size()) != want) {
    return absl::InvalidArgumentError(
        cat("[generate] parameters: got ", params.size(), ", want ", want));
  }
  if (max_positions < 1) {
    return absl::InvalidArgumentError(
        cat("[generate] positions: got ", max_positions, ", want at least 1"));
  }
  const int64_t floats_a_position = 2 * config.layers * config.kv_heads * config.head_dim + 1;
  RUBATO_RETURN_IF_ERROR(check_memory(4 * (floats_a_position * max_positions + config.vocab)));
  return std::unique_ptr<IncrementalDecoder>(new IncrementalDecoder(config, params, max_positions));
}

// One head of the current position, in place; the half-split layout of the training engine.
void IncrementalDecoder::rotate(float* head) const {
  const int64_t half = config_.head_dim / 2;
  for (int64_t i = 0; i < half; ++i) {
    const double exponent = static_cast<double>(2 * i) / static_cast<double>(config_.head_dim);
    const double angle = static_cast<double>(position_) * std::pow(config_.rope_theta, -exponent);
    const double c = std::cos(angle), s = std::sin(angle);
    const double low = head[i], high = head[half + i];
    head[i] = static_cast<float>(low * c - high * s);
    head[half + i] = static_cast<float>(high * c + low * s);
  }
}

// Files the current keys and values and mixes what every head sees, itself included.
void IncrementalDecoder::attend(int64_t layer) {
  const int64_t e = config_.head_dim, seen = position_ + 1;
  float* keys = keys_.data() + layer * max_positions_ * kv_width_;
  float* values = values_.data() + layer * max_positions_ * kv_width_;
  for (int64_t h = 0; h < config_.heads + config_.kv_heads; ++h) rotate(qkv_.data() + h * e);
  std::copy_n(qkv_.data() + q_width_, kv_width_, keys + position_ * kv_width_);
  std::copy_n(qkv_.data() + q_width_ + kv_width_, kv_width_, values + position_ * kv_width_);
  const float scale = 1.0f / std::sqrt(static_cast<float>(e));
  for (int64_t h = 0; h < config_.heads; ++h) {
    const float* q = qkv_.data() + h * e;
    const int64_t at = h / (config_.heads / config_.kv_heads) * e;
    for (int64_t t = 0; t < seen; ++t) {
      const float* k = keys + t * kv_width_ + at;
      scores_[t] = scale * std::inner_product(q, q + e, k, 0.0f);
    }
    float shift = -std::numeric_limits<float>::infinity(), rescale = 0, sum = 0;
    kernels::exp_rows(1, seen, seen, scores_.data(), &shift, &rescale, &sum);
    float* out = mixed_.data() + h * e;
    std::fill_n(out, e, 0.0f);
    for (int64_t t = 0; t < seen; ++t) {
      const float* v = values + t * kv_width_ + at;
      for (int64_t i = 0; i < e; ++i) out[i] += scores_[t] / sum * v[i];
    }
  }
}

std::span<const float> IncrementalDecoder::feed(int32_t token) {
  RUBATO_CHECK(position_ < max_positions_ && token >= 0 && token < config_.vocab);
  flush_denormals();
  const SingleThreadedGemm single;
  const int64_t d = config_.width, f = config_.ffn, wide = q_width_ + 2 * kv_width_;
  const float eps = static_cast<float>(config_.norm_eps);
  const float* p = params_.data();
  float inverse_rms = 0;
  kernels::gather_rows(1, d, p + offsets_.embedding, &token, x_.data());
  for (int64_t i = 0; i < config_.layers; ++i) {
    const LayerOffsets& at = offsets_.layers[i];
    kernels::rms_norm_forward(1, d, eps, x_.data(), p + at.attention_norm, normed_.data(),
                              &inverse_rms);
    gemm_nt(1, wide, d, normed_.data(), d, p + at.qkv, d, 0.0f, qkv_.data(), wide);
    attend(i);
    gemm_nt(1, d, q_width_, mixed_.data(), q_width_, p + at.out, q_width_, 1.0f, x_.data(), d);
    kernels::rms_norm_forward(1, d, eps, x_.data(), p + at.ffn_norm, normed_.data(), &inverse_rms);
    gemm_nt(1, 2 * f, d, normed_.data(), d, p + at.gate_up, d, 0.0f, gate_up_.data(), 2 * f);
    kernels::swiglu_forward(1, f, gate_up_.data(), active_.data());
    gemm_nt(1, d, f, active_.data(), f, p + at.down, f, 1.0f, x_.data(), d);
  }
  kernels::rms_norm_forward(1, d, eps, x_.data(), p + offsets_.final_norm, normed_.data(),
                            &inverse_rms);
  gemm_nt(1, config_.vocab, d, normed_.data(), d, p + offsets_.head, d, 0.0f, logits_.data(),
          config_.vocab);
  ++position_;
  return logits_;
}

int32_t sample_token(std::span<const float> logits, const SamplingOptions& options, double draw) {
  const auto likelier = [&](int32_t a, int32_t b) {
    return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
  };
  std::vector<int32_t> tokens(logits.size());
  std::iota(tokens.begin(), tokens.end(), 0);
  const int64_t vocab = static_cast<int64_t>(logits.size());
  const int64_t kept =
      options.temperature == 0 ? 1 : std::min(options.top_k.value_or(vocab), vocab);
  std::partial_sort(tokens.begin(), tokens.begin() + kept, tokens.end(), likelier);
  if (kept == 1) return tokens.front();
  std::vector<double> upto(kept);  // running sums of the weights, likeliest first
  double total = 0;
  for (int64_t i = 0; i < kept; ++i) {
    const double behind =
        static_cast<double>(logits[tokens[i]]) - static_cast<double>(logits[tokens.front()]);
    upto[i] = total += std::exp(behind / options.temperature);
  }
  const auto drawn = std::upper_bound(upto.begin(), upto.end(), draw * total);
  return tokens[std::min<int64_t>(drawn - upto.begin(), kept - 1)];
}

StatusOr<std::vector<int32_t>> generate(const ModelConfig& config, std::span<const float> params,
                                        std::span<const int32_t> prompt, int64_t max_new_tokens,
                                        const SamplingOptions& options) {
  if (prompt.empty()) return absl::InvalidArgumentError("[generate] prompt: got 0 tokens, want 1");
  for (int32_t token : prompt) {
    if (token < 0 || token >= config.vocab) {
      return absl::InvalidArgumentError(
          cat("[generate] prompt: got token ", token, ", want less than ", config.vocab));
    }
  }
  if (!(options.temperature >= 0) || options.top_k.value_or(1) < 1 || max_new_tokens < 0) {
    return absl::InvalidArgumentError(cat(
        "[generate] got temperature ", options.temperature, ", top_k ", options.top_k.value_or(1),
        ", ", max_new_tokens, " new tokens, want temperature >= 0, top_k >= 1, tokens >= 0"));
  }
  const int64_t most = static_cast<int64_t>(prompt.size()) + max_new_tokens;
  RUBATO_ASSIGN_OR_RETURN(std::unique_ptr<IncrementalDecoder> decoder,
                          IncrementalDecoder::make(config, params, most));
  std::span<const float> logits;
  for (int32_t token : prompt) logits = decoder->feed(token);
  Rng rng(options.seed, RngStream::kGeneration);
  std::vector<int32_t> out;
  while (static_cast<int64_t>(out.size()) < max_new_tokens) {
    if (!all_finite(logits))
      return absl::FailedPreconditionError(
          "[generate] logits: got a number that is not finite, want a model without any");
    const int32_t token = sample_token(logits, options, rng.uniform());
    if (options.stop_token == token) break;
    out.push_back(token);
    if (static_cast<int64_t>(out.size()) < max_new_tokens) logits = decoder->feed(token);
  }
  return out;
}

}  // namespace rubato

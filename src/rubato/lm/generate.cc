#include "rubato/lm/generate.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <thread>

#include "rubato/base/flat_ops.h"
#include "rubato/base/float_env.h"
#include "rubato/base/rng.h"
#include "rubato/lm/arena.h"
#include "rubato/lm/kernels/decode.h"
#include "rubato/lm/kernels/rows.h"

namespace rubato {

namespace {

// Below this many floats a pass is over before a second thread has woken.
constexpr int64_t kFloatsWorthAThread = 16 * 1024;

}  // namespace

IncrementalDecoder::IncrementalDecoder(const ModelConfig& config, std::span<const float> params,
                                       int64_t max_positions, std::unique_ptr<Team> team)
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
      cosine_(config.head_dim / 2),
      sine_(config.head_dim / 2),
      scores_(config.heads * max_positions),
      logits_(config.vocab),
      team_(std::move(team)) {}

StatusOr<std::unique_ptr<IncrementalDecoder>> IncrementalDecoder::make(
    const ModelConfig& config, std::span<const float> params, int64_t max_positions, int threads) {
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
  const int64_t floats_a_position =
      2 * config.layers * config.kv_heads * config.head_dim + config.heads;
  RUBATO_RETURN_IF_ERROR(check_memory(4 * (floats_a_position * max_positions + config.vocab)));
  // Members without a core of their own are waited for at every product, ten thousand times a
  // second.
  const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  RUBATO_ASSIGN_OR_RETURN(std::unique_ptr<Team> team, Team::make(std::min(threads, cores)));
  return std::unique_ptr<IncrementalDecoder>(
      new IncrementalDecoder(config, params, max_positions, std::move(team)));
}

void IncrementalDecoder::fill_angles() {
  for (size_t i = 0; i < cosine_.size(); ++i) {
    const double exponent = static_cast<double>(2 * i) / static_cast<double>(config_.head_dim);
    const double angle = static_cast<double>(position_) * std::pow(config_.rope_theta, -exponent);
    cosine_[i] = std::cos(angle);
    sine_[i] = std::sin(angle);
  }
}

// One head of the current position, in place; the half-split layout of the training engine.
void IncrementalDecoder::rotate(float* head, float scale) const {
  const auto half = static_cast<int64_t>(cosine_.size());
  for (int64_t i = 0; i < half; ++i) {
    const double low = head[i], high = head[half + i];
    head[i] = scale * static_cast<float>(low * cosine_[i] - high * sine_[i]);
    head[half + i] = scale * static_cast<float>(high * cosine_[i] + low * sine_[i]);
  }
}

// Files the current keys and values and mixes what every head sees, itself included.
void IncrementalDecoder::attend(int64_t layer) {
  const int64_t e = config_.head_dim, seen = position_ + 1;
  float* keys = keys_.data() + layer * max_positions_ * kv_width_;
  float* values = values_.data() + layer * max_positions_ * kv_width_;
  const float scale = 1.0f / std::sqrt(static_cast<float>(e));
  for (int64_t h = 0; h < config_.heads; ++h) rotate(qkv_.data() + h * e, scale);
  for (int64_t h = 0; h < config_.kv_heads; ++h) rotate(qkv_.data() + q_width_ + h * e, 1.0f);
  std::copy_n(qkv_.data() + q_width_, kv_width_, keys + position_ * kv_width_);
  std::copy_n(qkv_.data() + q_width_ + kv_width_, kv_width_, values + position_ * kv_width_);
  const int64_t members = 2 * seen * q_width_ < kFloatsWorthAThread ? 1 : team_->size();
  team_->run(static_cast<int>(members), [&](int member) {
    for (int64_t h = member; h < config_.heads; h += members) {
      const int64_t at = h / (config_.heads / config_.kv_heads) * e;
      kernels::attend(seen, e, kv_width_, qkv_.data() + h * e, keys + at, values + at,
                      scores_.data() + h * max_positions_, mixed_.data() + h * e);
    }
  });
}

// y (+)= the parameters' matrix (rows, cols) at offset `matrix` times x.
void IncrementalDecoder::multiply(int64_t rows, int64_t cols, int64_t matrix, const float* x,
                                  bool accumulate, float* y) {
  const float* weight = params_.data() + matrix;
  const int64_t members = rows * cols < kFloatsWorthAThread ? 1 : team_->size();
  team_->run(static_cast<int>(members), [&](int member) {
    kernels::multiply_rows(rows * member / members, rows * (member + 1) / members, cols, weight, x,
                           accumulate, y);
  });
}

std::span<const float> IncrementalDecoder::feed(int32_t token) {
  RUBATO_CHECK(position_ < max_positions_ && token >= 0 && token < config_.vocab);
  flush_denormals();
  const int64_t d = config_.width, f = config_.ffn;
  const float eps = static_cast<float>(config_.norm_eps);
  const float* p = params_.data();
  float inverse_rms = 0;
  const auto norm = [&](int64_t weight) {
    kernels::rms_norm_forward(1, d, eps, x_.data(), p + weight, normed_.data(), &inverse_rms);
  };
  fill_angles();
  kernels::gather_rows(1, d, p + offsets_.embedding, &token, x_.data());
  for (int64_t i = 0; i < config_.layers; ++i) {
    const LayerOffsets& at = offsets_.layers[i];
    norm(at.attention_norm);
    multiply(q_width_ + 2 * kv_width_, d, at.qkv, normed_.data(), false, qkv_.data());
    attend(i);
    multiply(d, q_width_, at.out, mixed_.data(), true, x_.data());
    norm(at.ffn_norm);
    multiply(2 * f, d, at.gate_up, normed_.data(), false, gate_up_.data());
    kernels::swiglu_forward(1, f, gate_up_.data(), active_.data());
    multiply(d, f, at.down, active_.data(), true, x_.data());
  }
  norm(offsets_.final_norm);
  multiply(config_.vocab, d, offsets_.head, normed_.data(), false, logits_.data());
  ++position_;
  return logits_;
}

TokenSampler::TokenSampler(const SamplingOptions& options, int64_t vocab)
    : options_(options), tokens_(vocab), weights_(vocab) {}

int32_t TokenSampler::choose(std::span<const float> logits, double draw) {
  const auto vocab = static_cast<int64_t>(logits.size());
  int64_t kept = std::min(options_.top_k.value_or(vocab), vocab);
  const auto top = std::max_element(logits.begin(), logits.end());
  if (options_.temperature == 0 || kept == 1) return static_cast<int32_t>(top - logits.begin());

  // Divided in double: the reciprocal of a tiny temperature has no float.
  for (int64_t i = 0; i < vocab; ++i) {
    const double behind = static_cast<double>(logits[i]) - static_cast<double>(*top);
    weights_[i] = static_cast<float>(behind / options_.temperature);
  }
  float shift = 0, rescale = 0, sum = 0;
  kernels::exp_rows(1, vocab, vocab, weights_.data(), &shift, &rescale, &sum);
  // From the likeliest on, sorted no further than the draw falls; all that are kept when only their
  // sum says where it falls.
  std::iota(tokens_.begin(), tokens_.end(), 0);
  const auto likelier = [&](int32_t a, int32_t b) {
    return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
  };
  int64_t sorted = 0;
  const auto sort_up_to = [&](int64_t end) {
    std::partial_sort(tokens_.begin() + sorted, tokens_.begin() + end, tokens_.end(), likelier);
    sorted = end;
  };
  double total = 0;
  if (kept < vocab) {
    sort_up_to(kept);
    for (int64_t i = 0; i < kept; ++i) total += static_cast<double>(weights_[tokens_[i]]);
  } else {
    for (const float weight : weights_) total += static_cast<double>(weight);
  }
  const auto weight_at = [&](int64_t i) {
    if (i == sorted) sort_up_to(std::min(kept, std::max<int64_t>(32, 4 * sorted)));
    return static_cast<double>(weights_[tokens_[i]]);
  };
  if (options_.top_p) {
    double nucleus = 0;
    int64_t size = 0;
    while (size < kept && nucleus < *options_.top_p * total) nucleus += weight_at(size++);
    kept = size;
    total = nucleus;
  }
  double upto = 0;
  for (int64_t i = 0; i < kept; ++i) {
    upto += weight_at(i);
    if (draw * total < upto) return tokens_[i];
  }
  return tokens_[kept - 1];
}

namespace {

Status check_options(const SamplingOptions& options, int64_t max_new_tokens) {
  const double top_p = options.top_p.value_or(1);
  if (options.temperature >= 0 && options.top_k.value_or(1) >= 1 && top_p > 0 && top_p <= 1 &&
      max_new_tokens >= 0)
    return absl::OkStatus();
  return absl::InvalidArgumentError(
      cat("[generate] got temperature ", options.temperature, ", top_k ", options.top_k.value_or(1),
          ", top_p ", top_p, ", ", max_new_tokens,
          " new tokens, want temperature >= 0, top_k >= 1, top_p in (0, 1], tokens >= 0"));
}

}  // namespace

StatusOr<std::vector<int32_t>> generate(const ModelConfig& config, std::span<const float> params,
                                        std::span<const int32_t> prompt, int64_t max_new_tokens,
                                        const SamplingOptions& options, int threads,
                                        const TokenCallback& on_token) {
  if (prompt.empty()) return absl::InvalidArgumentError("[generate] prompt: got 0 tokens, want 1");
  for (int32_t token : prompt) {
    if (token < 0 || token >= config.vocab) {
      return absl::InvalidArgumentError(
          cat("[generate] prompt: got token ", token, ", want less than ", config.vocab));
    }
  }
  RUBATO_RETURN_IF_ERROR(check_options(options, max_new_tokens));
  const int64_t most = static_cast<int64_t>(prompt.size()) + max_new_tokens;
  RUBATO_ASSIGN_OR_RETURN(std::unique_ptr<IncrementalDecoder> decoder,
                          IncrementalDecoder::make(config, params, most, threads));
  std::span<const float> logits;
  for (int32_t token : prompt) logits = decoder->feed(token);
  TokenSampler sampler(options, config.vocab);
  Rng rng(options.seed, RngStream::kGeneration);
  std::vector<int32_t> out;
  while (static_cast<int64_t>(out.size()) < max_new_tokens) {
    if (!all_finite(logits))
      return absl::FailedPreconditionError(
          "[generate] logits: got a number that is not finite, want a model without any");
    const int32_t token = sampler.choose(logits, rng.uniform());
    if (options.stop_token == token) break;
    out.push_back(token);
    if (on_token) RUBATO_RETURN_IF_ERROR(on_token(token));
    if (static_cast<int64_t>(out.size()) < max_new_tokens) logits = decoder->feed(token);
  }
  return out;
}

}  // namespace rubato

#include "rubato/lm/attention_layer.h"

#include <algorithm>
#include <cmath>

namespace rubato {

AttentionLayer::AttentionLayer(const ModelConfig& config, int64_t positions, bool backward,
                               Carver& carver)
    : config_(config),
      shape_{.positions = positions, .head_dim = config.head_dim},
      q_width_(config.heads * config.head_dim),
      row_width_(q_width_ + 2 * config.kv_heads * config.head_dim),
      cosine_(carver.take<float>(positions * config.head_dim / 2)),
      sine_(carver.take<float>(positions * config.head_dim / 2)),
      k_transposed_(carver.take<float>(shape_.transposed_floats())) {
  int64_t scratch = kernels::attention_forward_scratch(shape_);
  if (backward) {
    v_transposed_ = carver.take<float>(shape_.transposed_floats());
    dout_ = carver.take<float>(config.heads * shape_.packed_floats());
    along_ = carver.take<float>(config.heads * shape_.padded_positions());
    dq_ = carver.take<float>(config.heads * shape_.packed_floats());
    dk_ = carver.take<float>(config.kv_heads * shape_.packed_floats());
    dv_ = carver.take<float>(config.kv_heads * shape_.packed_floats());
    scratch = std::max(scratch, kernels::attention_backward_scratch(shape_));
  }
  scratch_ = carver.take<float>(scratch);
}

AttentionCache AttentionLayer::take_cache(int64_t sequences, Carver& carver) const {
  const int64_t head = shape_.packed_floats();
  AttentionCache cache;
  cache.q = carver.take<float>(sequences * config_.heads * head);
  cache.k = carver.take<float>(sequences * config_.kv_heads * head);
  cache.v = carver.take<float>(sequences * config_.kv_heads * head);
  cache.log_sum_exp = carver.take<float>(sequences * config_.heads * shape_.positions);
  return cache;
}

void AttentionLayer::fill_tables() {
  const int64_t half = config_.head_dim / 2;
  for (int64_t t = 0; t < shape_.positions; ++t) {
    for (int64_t i = 0; i < half; ++i) {
      const double exponent = static_cast<double>(2 * i) / static_cast<double>(config_.head_dim);
      const double angle = static_cast<double>(t) * std::pow(config_.rope_theta, -exponent);
      cosine_[t * half + i] = static_cast<float>(std::cos(angle));
      sine_[t * half + i] = static_cast<float>(std::sin(angle));
    }
  }
}

void AttentionLayer::forward(int64_t sequences, const float* qkv, const AttentionCache& cache,
                             float* out) {
  const int64_t head_dim = config_.head_dim, packed = shape_.packed_floats();
  const int64_t group = config_.heads / config_.kv_heads, kv_heads = config_.kv_heads;
  const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  for (int64_t s = 0; s < sequences; ++s) {
    const float* rows = qkv + s * shape_.positions * row_width_;
    float* q = cache.q + s * config_.heads * packed;
    float* k = cache.k + s * kv_heads * packed;
    float* v = cache.v + s * kv_heads * packed;
    kernels::pack_rotated(shape_, config_.heads, {cosine_, sine_}, rows, row_width_, scale, q);
    kernels::pack_rotated(shape_, kv_heads, {cosine_, sine_}, rows + q_width_, row_width_, 1.0f, k);
    kernels::pack_rows(shape_, kv_heads, rows + q_width_ + kv_heads * head_dim, row_width_, v);
    for (int64_t h = 0; h < config_.heads; ++h) {
      const int64_t kv = h / group;
      if (h % group == 0) kernels::transpose_packed(shape_, k + kv * packed, k_transposed_);
      kernels::attention_forward(shape_, q + h * packed, k_transposed_, v + kv * packed, scratch_,
                                 out + s * shape_.positions * q_width_ + h * head_dim, q_width_,
                                 cache.log_sum_exp + (s * config_.heads + h) * shape_.positions);
    }
  }
}

void AttentionLayer::backward(int64_t sequences, const AttentionCache& cache, const float* out,
                              const float* dout, float* dqkv) {
  const int64_t kv_heads = config_.kv_heads, packed = shape_.packed_floats();
  const float scale = 1.0f / std::sqrt(static_cast<float>(config_.head_dim));
  for (int64_t s = 0; s < sequences; ++s) {
    const int64_t at = s * shape_.positions * q_width_;
    kernels::pack_rows(shape_, config_.heads, dout + at, q_width_, dout_);
    kernels::dot_rows(shape_, config_.heads, dout + at, out + at, q_width_, along_);
    std::fill_n(dk_, kv_heads * packed, 0.0f);
    std::fill_n(dv_, kv_heads * packed, 0.0f);
    for (int64_t kv = 0; kv < kv_heads; ++kv) backward_group(cache, s, kv);
    float* rows = dqkv + s * shape_.positions * row_width_;
    kernels::unpack_rotated(shape_, config_.heads, {cosine_, sine_}, dq_, scale, rows, row_width_);
    rows += q_width_;
    kernels::unpack_rotated(shape_, kv_heads, {cosine_, sine_}, dk_, 1.0f, rows, row_width_);
    kernels::unpack_rows(shape_, kv_heads, dv_, rows + kv_heads * config_.head_dim, row_width_);
  }
}

// All query heads that share one key-value head: its gradients gather over them.
void AttentionLayer::backward_group(const AttentionCache& cache, int64_t sequence,
                                    int64_t kv_head) {
  const int64_t packed = shape_.packed_floats(), group = config_.heads / config_.kv_heads;
  const float* k = cache.k + (sequence * config_.kv_heads + kv_head) * packed;
  const float* v = cache.v + (sequence * config_.kv_heads + kv_head) * packed;
  kernels::transpose_packed(shape_, k, k_transposed_);
  kernels::transpose_packed(shape_, v, v_transposed_);
  for (int64_t h = kv_head * group; h < (kv_head + 1) * group; ++h) {
    const int64_t head = sequence * config_.heads + h;
    const kernels::AttentionBackwardInputs in = {
        .q = cache.q + head * packed,
        .k = k,
        .k_transposed = k_transposed_,
        .v_transposed = v_transposed_,
        .log_sum_exp = cache.log_sum_exp + head * shape_.positions,
        .dout = dout_ + h * packed,
        .along = along_ + h * shape_.padded_positions()};
    kernels::attention_backward(shape_, in, scratch_, dq_ + h * packed, dk_ + kv_head * packed,
                                dv_ + kv_head * packed);
  }
}

}  // namespace rubato

#include "rubato/lm/attention_layer.h"

#include <algorithm>
#include <cmath>

namespace rubato {

AttentionLayer::AttentionLayer(const ModelConfig& config, int64_t positions, int parts,
                               bool backward, Carver& carver)
    : config_(config),
      shape_{.positions = positions, .head_dim = config.head_dim},
      q_width_(config.heads * config.head_dim),
      row_width_(q_width_ + 2 * config.kv_heads * config.head_dim),
      cosine_(carver.take<float>(positions * config.head_dim / 2)),
      sine_(carver.take<float>(positions * config.head_dim / 2)) {
  int64_t strips = kernels::attention_forward_scratch(shape_);
  if (backward) {
    dout_ = carver.take<float>(config.heads * shape_.packed_floats());
    along_ = carver.take<float>(config.heads * shape_.padded_positions());
    dq_ = carver.take<float>(config.heads * shape_.packed_floats());
    dk_ = carver.take<float>(config.kv_heads * shape_.packed_floats());
    dv_ = carver.take<float>(config.kv_heads * shape_.packed_floats());
    strips = std::max(strips, kernels::attention_backward_scratch(shape_));
  }
  for (int part = 0; part < parts; ++part) {
    Scratch scratch;
    scratch.k_transposed = carver.take<float>(shape_.transposed_floats());
    scratch.v_transposed = backward ? carver.take<float>(shape_.transposed_floats()) : nullptr;
    scratch.strips = carver.take<float>(strips);
    scratch_.push_back(scratch);
  }
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

void AttentionLayer::forward(int64_t sequences, int64_t begin, int64_t end, int part,
                             const float* qkv, const AttentionCache& cache, float* out) {
  const int64_t head_dim = config_.head_dim, packed = shape_.packed_floats();
  const int64_t group = config_.heads / config_.kv_heads, kv_heads = config_.kv_heads;
  const int64_t first = begin * group, heads = (end - begin) * group;
  const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  const Scratch& scratch = scratch_[part];
  for (int64_t s = 0; s < sequences; ++s) {
    const float* rows = qkv + s * shape_.positions * row_width_;
    const float* key_rows = rows + q_width_ + begin * head_dim;
    float* q = cache.q + s * config_.heads * packed;
    float* k = cache.k + s * kv_heads * packed;
    float* v = cache.v + s * kv_heads * packed;
    kernels::pack_rotated(shape_, heads, {cosine_, sine_}, rows + first * head_dim, row_width_,
                          scale, q + first * packed);
    kernels::pack_rotated(shape_, end - begin, {cosine_, sine_}, key_rows, row_width_, 1.0f,
                          k + begin * packed);
    kernels::pack_rows(shape_, end - begin, key_rows + kv_heads * head_dim, row_width_,
                       v + begin * packed);
    for (int64_t h = first; h < first + heads; ++h) {
      const int64_t kv = h / group;
      if (h % group == 0) kernels::transpose_packed(shape_, k + kv * packed, scratch.k_transposed);
      kernels::attention_forward(shape_, q + h * packed, scratch.k_transposed, v + kv * packed,
                                 scratch.strips,
                                 out + s * shape_.positions * q_width_ + h * head_dim, q_width_,
                                 cache.log_sum_exp + (s * config_.heads + h) * shape_.positions);
    }
  }
}

void AttentionLayer::backward(int64_t sequences, int64_t begin, int64_t end, int part,
                              const AttentionCache& cache, const float* out, const float* dout,
                              float* dqkv) {
  const int64_t kv_heads = config_.kv_heads, packed = shape_.packed_floats();
  const int64_t head_dim = config_.head_dim, padded = shape_.padded_positions();
  const int64_t group = config_.heads / kv_heads, first = begin * group;
  const int64_t heads = (end - begin) * group;
  const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  for (int64_t s = 0; s < sequences; ++s) {
    const int64_t at = s * shape_.positions * q_width_ + first * head_dim;
    kernels::pack_rows(shape_, heads, dout + at, q_width_, dout_ + first * packed);
    kernels::dot_rows(shape_, heads, dout + at, out + at, q_width_, along_ + first * padded);
    std::fill_n(dk_ + begin * packed, (end - begin) * packed, 0.0f);
    std::fill_n(dv_ + begin * packed, (end - begin) * packed, 0.0f);
    for (int64_t kv = begin; kv < end; ++kv) backward_group(cache, s, kv, scratch_[part]);
    float* rows = dqkv + s * shape_.positions * row_width_;
    float* key_rows = rows + q_width_ + begin * head_dim;
    kernels::unpack_rotated(shape_, heads, {cosine_, sine_}, dq_ + first * packed, scale,
                            rows + first * head_dim, row_width_);
    kernels::unpack_rotated(shape_, end - begin, {cosine_, sine_}, dk_ + begin * packed, 1.0f,
                            key_rows, row_width_);
    kernels::unpack_rows(shape_, end - begin, dv_ + begin * packed, key_rows + kv_heads * head_dim,
                         row_width_);
  }
}

// All query heads that share one key-value head: its gradients gather over them.
void AttentionLayer::backward_group(const AttentionCache& cache, int64_t sequence, int64_t kv_head,
                                    const Scratch& scratch) {
  const int64_t packed = shape_.packed_floats(), group = config_.heads / config_.kv_heads;
  const float* k = cache.k + (sequence * config_.kv_heads + kv_head) * packed;
  const float* v = cache.v + (sequence * config_.kv_heads + kv_head) * packed;
  kernels::transpose_packed(shape_, k, scratch.k_transposed);
  kernels::transpose_packed(shape_, v, scratch.v_transposed);
  for (int64_t h = kv_head * group; h < (kv_head + 1) * group; ++h) {
    const int64_t head = sequence * config_.heads + h;
    const kernels::AttentionBackwardInputs in = {
        .q = cache.q + head * packed,
        .k = k,
        .k_transposed = scratch.k_transposed,
        .v_transposed = scratch.v_transposed,
        .log_sum_exp = cache.log_sum_exp + head * shape_.positions,
        .dout = dout_ + h * packed,
        .along = along_ + h * shape_.padded_positions()};
    kernels::attention_backward(shape_, in, scratch.strips, dq_ + h * packed,
                                dk_ + kv_head * packed, dv_ + kv_head * packed);
  }
}

}  // namespace rubato

#include "rubato/lm/decoder.h"

#include <algorithm>
#include <cstring>

#include "rubato/lm/gemm.h"
#include "rubato/lm/kernels/rows.h"

namespace rubato {

Decoder::Decoder(const ModelConfig& config, const ModelOffsets& offsets,
                 const ForwardWeights& weights, int64_t positions, int64_t sequences, Keeps keeps,
                 Carver& carver)
    : config_(config),
      offsets_(&offsets),
      weights_(&weights),
      positions_(positions),
      max_rows_(sequences * positions),
      q_width_(config.heads * config.head_dim),
      row_width_(q_width_ + 2 * config.kv_heads * config.head_dim),
      keeps_(keeps),
      attention_(config, positions, keeps != Keeps::kNothing, carver),
      cross_entropy_(max_rows_, config.width, config.vocab, keeps != Keeps::kNothing, carver),
      inputs_(carver.take<int32_t>(max_rows_)),
      targets_(carver.take<int32_t>(max_rows_)),
      x_(carver.take<float>(max_rows_ * config.width)),
      rms_(carver.take<float>(max_rows_)),
      normed_(carver.take<float>(max_rows_ * config.width)),
      qkv_(carver.take<float>(max_rows_ * row_width_)) {
  take_layers(carver);
  if (keeps != Keeps::kNothing) {
    dx_ = carver.take<float>(max_rows_ * config.width);
    dnormed_ = carver.take<float>(max_rows_ * config.width);
    dwide_ = carver.take<float>(max_rows_ * std::max(config.ffn, q_width_));
  }
}

void Decoder::take_layers(Carver& carver) {
  layers_.push_back(take_layer(carver));
  for (int64_t i = 1; i < config_.layers; ++i) {
    layers_.push_back(keeps_ == Keeps::kActivations ? take_layer(carver) : layers_.front());
    if (keeps_ == Keeps::kInputs) layers_.back().x = take_input(carver);
  }
}

float* Decoder::take_input(Carver& carver) const {
  return carver.take<float>(max_rows_ * config_.width);
}

Decoder::LayerCache Decoder::take_layer(Carver& carver) {
  LayerCache cache;
  cache.x = take_input(carver);
  cache.rms = carver.take<float>(max_rows_);
  cache.normed = carver.take<float>(max_rows_ * config_.width);
  cache.attention = attention_.take_cache(max_rows_ / positions_, carver);
  cache.mixed = carver.take<float>(max_rows_ * q_width_);
  cache.x_mid = carver.take<float>(max_rows_ * config_.width);
  cache.rms_mid = carver.take<float>(max_rows_);
  cache.normed_mid = carver.take<float>(max_rows_ * config_.width);
  cache.gate_up = carver.take<float>(max_rows_ * 2 * config_.ffn);
  cache.active = carver.take<float>(max_rows_ * config_.ffn);
  return cache;
}

void Decoder::init() { attention_.fill_tables(); }

int64_t Decoder::load(std::span<const int32_t> tokens) {
  const int64_t sequences = static_cast<int64_t>(tokens.size()) / (positions_ + 1);
  RUBATO_CHECK(static_cast<int64_t>(tokens.size()) == sequences * (positions_ + 1) &&
               sequences * positions_ <= max_rows_);
  for (int64_t s = 0; s < sequences; ++s) {
    const int32_t* from = tokens.data() + s * (positions_ + 1);
    std::copy_n(from, positions_, inputs_ + s * positions_);
    std::copy_n(from + 1, positions_, targets_ + s * positions_);
  }
  return sequences * positions_;
}

double Decoder::loss(const float* params, std::span<const int32_t> tokens) {
  const int64_t rows = load(tokens);
  forward(params, rows);
  return cross_entropy_.loss(rows, normed_, *weights_, targets_);
}

void Decoder::logits(const float* params, std::span<const int32_t> tokens, float* out) {
  const int64_t rows = load(tokens), d = config_.width;
  forward(params, rows);
  gemm_nt(rows, config_.vocab, d, normed_, d, params + offsets_->head, d, 0.0f, out, config_.vocab);
}

double Decoder::loss_and_gradient(const float* params, std::span<const int32_t> tokens, float scale,
                                  bool first, float* gradient) {
  RUBATO_CHECK(keeps_ != Keeps::kNothing);
  const int64_t rows = load(tokens), d = config_.width;
  if (first) {
    // Every matrix is written by its first product; what gathers by adding starts from zero.
    std::fill_n(gradient + offsets_->final_norm, d, 0.0f);
    for (const LayerOffsets& at : offsets_->layers) {
      std::fill_n(gradient + at.attention_norm, d, 0.0f);
      std::fill_n(gradient + at.ffn_norm, d, 0.0f);
    }
    if (!config_.tied) std::fill_n(gradient + offsets_->embedding, config_.vocab * d, 0.0f);
  }
  forward(params, rows);
  const double loss =
      cross_entropy_.loss_and_gradient(rows, normed_, *weights_, params + offsets_->head, targets_,
                                       scale, first, dnormed_, gradient + offsets_->head);
  clock_.lap(StepPart::kHead);
  std::fill_n(dx_, rows * d, 0.0f);
  kernels::rms_norm_backward(rows, d, dnormed_, x_, params + offsets_->final_norm, rms_, dx_,
                             gradient + offsets_->final_norm);
  clock_.lap(StepPart::kNorms);
  for (int64_t i = config_.layers - 1; i >= 0; --i) {
    // Those of the last layer are still there.
    if (keeps_ == Keeps::kInputs && i + 1 < config_.layers) make_activations(params, i, rows);
    backward_layer(params, i, rows, first, gradient);
  }
  kernels::scatter_add_rows(rows, d, 1.0f, dx_, inputs_, gradient + offsets_->embedding);
  clock_.lap(StepPart::kEmbedding);
  return loss;
}

void Decoder::forward(const float* params, int64_t rows) {
  const int64_t d = config_.width;
  clock_.begin();
  kernels::gather_rows(rows, d, params + offsets_->embedding, inputs_, layers_[0].x);
  clock_.lap(StepPart::kEmbedding);
  for (int64_t i = 0; i < config_.layers; ++i) {
    float* next = i + 1 < config_.layers ? layers_[i + 1].x : x_;
    make_activations(params, i, rows);
    leave_layer(i, rows, next);
  }
  kernels::rms_norm_forward(rows, d, static_cast<float>(config_.norm_eps), x_,
                            params + offsets_->final_norm, normed_, rms_);
  clock_.lap(StepPart::kNorms);
}

void Decoder::make_activations(const float* params, int64_t layer, int64_t rows) {
  const LayerOffsets& at = offsets_->layers[layer];
  const ForwardWeights::Layer& weights = weights_->layer(layer);
  const LayerCache& cache = layers_[layer];
  const int64_t d = config_.width, f = config_.ffn;
  const float eps = static_cast<float>(config_.norm_eps);
  const size_t stream_bytes = static_cast<size_t>(rows * d) * sizeof(float);
  kernels::rms_norm_forward(rows, d, eps, cache.x, params + at.attention_norm, cache.normed,
                            cache.rms);
  clock_.lap(StepPart::kNorms);
  gemm_nn(rows, row_width_, d, cache.normed, d, weights.qkv, row_width_, 0.0f, qkv_, row_width_);
  clock_.lap(StepPart::kProjections);
  attention_.forward(rows / positions_, qkv_, cache.attention, cache.mixed);
  clock_.lap(StepPart::kAttention);
  std::memcpy(cache.x_mid, cache.x, stream_bytes);
  gemm_nn(rows, d, q_width_, cache.mixed, q_width_, weights.out, d, 1.0f, cache.x_mid, d);
  clock_.lap(StepPart::kProjections);
  kernels::rms_norm_forward(rows, d, eps, cache.x_mid, params + at.ffn_norm, cache.normed_mid,
                            cache.rms_mid);
  clock_.lap(StepPart::kNorms);
  gemm_nn(rows, 2 * f, d, cache.normed_mid, d, weights.gate_up, 2 * f, 0.0f, cache.gate_up, 2 * f);
  clock_.lap(StepPart::kProjections);
  kernels::swiglu_forward(rows, f, cache.gate_up, cache.active);
  clock_.lap(StepPart::kSwiglu);
}

void Decoder::leave_layer(int64_t layer, int64_t rows, float* next) {
  const LayerCache& cache = layers_[layer];
  const int64_t d = config_.width, f = config_.ffn;
  std::memcpy(next, cache.x_mid, static_cast<size_t>(rows * d) * sizeof(float));
  gemm_nn(rows, d, f, cache.active, f, weights_->layer(layer).down, d, 1.0f, next, d);
  clock_.lap(StepPart::kProjections);
}

void Decoder::backward_layer(const float* params, int64_t layer, int64_t rows, bool first,
                             float* gradient) {
  const LayerOffsets& at = offsets_->layers[layer];
  const LayerCache& cache = layers_[layer];
  const int64_t d = config_.width, f = config_.ffn;
  const float keep = first ? 0.0f : 1.0f;
  gemm_tn(d, f, rows, dx_, d, cache.active, f, keep, gradient + at.down, f);
  gemm_nn(rows, f, d, dx_, d, params + at.down, f, 0.0f, dwide_, f);
  clock_.lap(StepPart::kProjections);
  kernels::swiglu_backward(rows, f, dwide_, cache.gate_up);
  clock_.lap(StepPart::kSwiglu);
  gemm_tn(2 * f, d, rows, cache.gate_up, 2 * f, cache.normed_mid, d, keep, gradient + at.gate_up,
          d);
  gemm_nn(rows, d, 2 * f, cache.gate_up, 2 * f, params + at.gate_up, d, 0.0f, dnormed_, d);
  clock_.lap(StepPart::kProjections);
  kernels::rms_norm_backward(rows, d, dnormed_, cache.x_mid, params + at.ffn_norm, cache.rms_mid,
                             dx_, gradient + at.ffn_norm);
  clock_.lap(StepPart::kNorms);
  gemm_tn(d, q_width_, rows, dx_, d, cache.mixed, q_width_, keep, gradient + at.out, q_width_);
  gemm_nn(rows, q_width_, d, dx_, d, params + at.out, q_width_, 0.0f, dwide_, q_width_);
  clock_.lap(StepPart::kProjections);
  attention_.backward(rows / positions_, cache.attention, cache.mixed, dwide_, qkv_);
  clock_.lap(StepPart::kAttention);
  gemm_tn(row_width_, d, rows, qkv_, row_width_, cache.normed, d, keep, gradient + at.qkv, d);
  gemm_nn(rows, d, row_width_, qkv_, row_width_, params + at.qkv, d, 0.0f, dnormed_, d);
  clock_.lap(StepPart::kProjections);
  kernels::rms_norm_backward(rows, d, dnormed_, cache.x, params + at.attention_norm, cache.rms, dx_,
                             gradient + at.attention_norm);
  clock_.lap(StepPart::kNorms);
}

}  // namespace rubato

#include "rubato/lm/decoder.h"

#include <algorithm>
#include <cstring>

#include "rubato/lm/gemm.h"
#include "rubato/lm/kernels/rows.h"

namespace rubato {
namespace {

// Whole cache lines of whatever a row holds, and no part without a reason to be one.
constexpr int64_t kRowsTogether = 16;

// First of `count` things that belong to `part` of `parts`, at a multiple of `together`.
int64_t share_begin(int64_t count, int64_t part, int64_t parts, int64_t together) {
  return part == parts ? count : count * part / parts / together * together;
}

}  // namespace

Decoder::Decoder(const ModelConfig& config, const ModelOffsets& offsets,
                 const ForwardWeights& weights, int64_t positions, int64_t sequences, int parts,
                 Keeps keeps, Products products, Carver& carver)
    : config_(config),
      offsets_(&offsets),
      weights_(&weights),
      positions_(positions),
      max_rows_(sequences * positions),
      q_width_(config.heads * config.head_dim),
      row_width_(q_width_ + 2 * config.kv_heads * config.head_dim),
      keeps_(keeps),
      attention_(config, positions, parts, keeps != Keeps::kNothing, carver),
      inputs_(carver.take<int32_t>(max_rows_)),
      targets_(carver.take<int32_t>(max_rows_)),
      x_(carver.take<float>(max_rows_ * config.width)),
      rms_(carver.take<float>(max_rows_)),
      normed_(carver.take<float>(max_rows_ * config.width)),
      qkv_(carver.take<float>(max_rows_ * row_width_)) {
  const bool backward = keeps != Keeps::kNothing;
  for (int64_t i = 0; i < parts; ++i) {
    const int64_t share = std::min(max_rows_, (max_rows_ + parts - 1) / parts + kRowsTogether);
    const int64_t most_rows = parts == 1 ? max_rows_ : share;
    const Range heads{share_begin(config.kv_heads, i, parts, 1),
                      share_begin(config.kv_heads, i + 1, parts, 1)};
    parts_.push_back(
        {.rows = {0, 0},
         .heads = heads,
         .loss = 0,
         .clock = PartClock(),
         .cross_entropy = CrossEntropy(most_rows, config.width, config.vocab, backward, carver),
         .multiply = take_multiplier(most_rows, products, carver)});
  }
  take_layers(carver);
  if (backward) {
    dx_ = carver.take<float>(max_rows_ * config.width);
    dnormed_ = carver.take<float>(max_rows_ * config.width);
    dwide_ = carver.take<float>(max_rows_ * config.ffn);
    dmixed_ = carver.take<float>(max_rows_ * q_width_);
  }
  list_work();
}

// The left factor is always an activation or its gradient; the right one a weight, or an
// activation.
Multiplier Decoder::take_multiplier(int64_t rows, Products products, Carver& carver) const {
  const int64_t widest = std::max({2 * config_.ffn, row_width_, config_.width, kTileColumns});
  return {products, rows * widest, std::max(rows, config_.width) * widest, carver};
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

void Decoder::list_work() {
  const auto activate = [&](int64_t layer) {
    for (const Stage stage : {Stage::kEnter, Stage::kAttend, Stage::kFeed})
      work_.push_back({stage, layer});
  };
  work_.push_back({Stage::kBegin, 0});
  for (int64_t i = 0; i < config_.layers; ++i) {
    activate(i);
    work_.push_back({Stage::kLeave, i});
  }
  forward_work_ = static_cast<int64_t>(work_.size());
  work_.push_back({Stage::kHead, 0});
  for (int64_t i = config_.layers - 1; i >= 0; --i) {
    // The activations of the last layer are still there.
    if (keeps_ == Keeps::kInputs && i + 1 < config_.layers) activate(i);
    for (const Stage stage : {Stage::kBackFeed, Stage::kBackAttend, Stage::kBackEnter})
      work_.push_back({stage, i});
  }
  work_.push_back({Stage::kEnd, 0});

  const auto by_heads = [&](int64_t i) {
    return work_[i].stage == Stage::kAttend || work_[i].stage == Stage::kBackAttend;
  };
  for (int64_t i = 0; i < static_cast<int64_t>(work_.size()); ++i) {
    if (i == 0 || by_heads(i) != by_heads(i - 1)) phases_.push_back({i, i});
    phases_.back().end = i + 1;
  }
}

void Decoder::init() { attention_.fill_tables(); }

void Decoder::start_clocks(ReadClock clock) {
  for (Part& part : parts_) part.clock = PartClock(clock);
}

void Decoder::add_times(PartTimes& sum) const {
  for (const Part& part : parts_) part.clock.add_to(sum);
}

void Decoder::load(std::span<const int32_t> tokens) {
  const int64_t sequences = static_cast<int64_t>(tokens.size()) / (positions_ + 1);
  RUBATO_CHECK(static_cast<int64_t>(tokens.size()) == sequences * (positions_ + 1) &&
               sequences * positions_ <= max_rows_);
  for (int64_t s = 0; s < sequences; ++s) {
    const int32_t* from = tokens.data() + s * (positions_ + 1);
    std::copy_n(from, positions_, inputs_ + s * positions_);
    std::copy_n(from + 1, positions_, targets_ + s * positions_);
  }
  rows_ = sequences * positions_;
  const auto parts = static_cast<int64_t>(parts_.size());
  for (int64_t i = 0; i < parts; ++i) {
    parts_[i].rows = {share_begin(rows_, i, parts, kRowsTogether),
                      share_begin(rows_, i + 1, parts, kRowsTogether)};
  }
}

double Decoder::loss(const float* params) {
  forward(params);
  double sum = 0;
  for (Part& part : parts_) {
    const int64_t at = part.rows.begin;
    sum += part.cross_entropy.loss(part.multiply, part.rows.size(), normed_ + at * config_.width,
                                   *weights_, targets_ + at);
  }
  return sum;
}

void Decoder::logits(const float* params, float* out) {
  const int64_t d = config_.width;
  forward(params);
  gemm_nt(rows_, config_.vocab, d, normed_, d, params + offsets_->head, d, 0.0f, out,
          config_.vocab);
}

double Decoder::loss_and_gradient(const Pass& pass) {
  RUBATO_CHECK(parts_.size() == 1);
  for (int64_t phase = 0; phase < num_phases(); ++phase) run_phase(phase, 0, pass);
  return part_loss(0);
}

void Decoder::forward(const float* params) {
  const Pass pass{params, 0, false, nullptr};
  for (int64_t i = 0; i < forward_work_; ++i) {
    for (int part = 0; part < static_cast<int>(parts_.size()); ++part) run(work_[i], part, pass);
  }
  for (Part& part : parts_) last_norm(part, params);
}

void Decoder::run_phase(int64_t phase, int part, const Pass& pass) {
  RUBATO_CHECK(keeps_ != Keeps::kNothing);
  parts_[part].clock.begin();
  for (int64_t i = phases_[phase].begin; i < phases_[phase].end; ++i) run(work_[i], part, pass);
}

void Decoder::run(Work work, int index, const Pass& pass) {
  Part& part = parts_[index];
  switch (work.stage) {
    case Stage::kBegin:
      return begin(part, pass);
    case Stage::kEnter:
      return enter(work.layer, part, pass);
    case Stage::kAttend:
      return attend(work.layer, index);
    case Stage::kFeed:
      return feed(work.layer, part, pass);
    case Stage::kLeave:
      return leave(work.layer, part);
    case Stage::kHead:
      return head(part, pass);
    case Stage::kBackFeed:
      return back_feed(work.layer, part, pass);
    case Stage::kBackAttend:
      return back_attend(work.layer, index);
    case Stage::kBackEnter:
      return back_enter(work.layer, part, pass);
    case Stage::kEnd:
      return end(part, pass);
  }
}

// Every matrix is written by its first product; what gathers by adding starts from zero, and so
// does everything of a part without rows.
void Decoder::clear_sums(const Part& part, const Pass& pass) const {
  const int64_t d = config_.width;
  const auto clear = [&](int64_t offset, int64_t size) {
    std::fill_n(pass.gradient + offset, size, 0.0f);
  };
  clear(offsets_->final_norm, d);
  if (!config_.tied) clear(offsets_->embedding, config_.vocab * d);
  if (part.rows.size() == 0) clear(offsets_->head, config_.vocab * d);
  for (const LayerOffsets& at : offsets_->layers) {
    clear(at.attention_norm, d);
    clear(at.ffn_norm, d);
    if (part.rows.size() > 0) continue;
    clear(at.qkv, row_width_ * d);
    clear(at.out, d * q_width_);
    clear(at.gate_up, 2 * config_.ffn * d);
    clear(at.down, d * config_.ffn);
  }
}

void Decoder::begin(Part& part, const Pass& pass) {
  part.loss = 0;
  if (pass.gradient != nullptr && pass.first) clear_sums(part, pass);
  const int64_t d = config_.width, at = part.rows.begin;
  part.clock.begin();
  kernels::gather_rows(part.rows.size(), d, pass.params + offsets_->embedding, inputs_ + at,
                       layers_[0].x + at * d);
  part.clock.lap(StepPart::kEmbedding);
}

void Decoder::enter(int64_t layer, Part& part, const Pass& pass) {
  const LayerCache& cache = layers_[layer];
  const int64_t d = config_.width, at = part.rows.begin, rows = part.rows.size();
  kernels::rms_norm_forward(rows, d, static_cast<float>(config_.norm_eps), cache.x + at * d,
                            pass.params + offsets_->layers[layer].attention_norm,
                            cache.normed + at * d, cache.rms + at);
  part.clock.lap(StepPart::kNorms);
  part.multiply.nn(rows, row_width_, d, cache.normed + at * d, d, weights_->layer(layer).qkv,
                   row_width_, 0.0f, qkv_ + at * row_width_, row_width_);
  part.clock.lap(StepPart::kProjections);
}

void Decoder::attend(int64_t layer, int part) {
  const LayerCache& cache = layers_[layer];
  const Range heads = parts_[part].heads;
  attention_.forward(rows_ / positions_, heads.begin, heads.end, part, qkv_, cache.attention,
                     cache.mixed);
  parts_[part].clock.lap(StepPart::kAttention);
}

void Decoder::feed(int64_t layer, Part& part, const Pass& pass) {
  const LayerCache& cache = layers_[layer];
  const ForwardWeights::Layer& weights = weights_->layer(layer);
  const int64_t d = config_.width, f = config_.ffn, at = part.rows.begin, rows = part.rows.size();
  std::memcpy(cache.x_mid + at * d, cache.x + at * d,
              static_cast<size_t>(rows * d) * sizeof(float));
  part.multiply.nn(rows, d, q_width_, cache.mixed + at * q_width_, q_width_, weights.out, d, 1.0f,
                   cache.x_mid + at * d, d);
  part.clock.lap(StepPart::kProjections);
  kernels::rms_norm_forward(rows, d, static_cast<float>(config_.norm_eps), cache.x_mid + at * d,
                            pass.params + offsets_->layers[layer].ffn_norm,
                            cache.normed_mid + at * d, cache.rms_mid + at);
  part.clock.lap(StepPart::kNorms);
  part.multiply.nn(rows, 2 * f, d, cache.normed_mid + at * d, d, weights.gate_up, 2 * f, 0.0f,
                   cache.gate_up + at * 2 * f, 2 * f);
  part.clock.lap(StepPart::kProjections);
  kernels::swiglu_forward(rows, f, cache.gate_up + at * 2 * f, cache.active + at * f);
  part.clock.lap(StepPart::kSwiglu);
}

void Decoder::leave(int64_t layer, Part& part) {
  const LayerCache& cache = layers_[layer];
  const int64_t d = config_.width, f = config_.ffn, at = part.rows.begin, rows = part.rows.size();
  float* next = (layer + 1 < config_.layers ? layers_[layer + 1].x : x_) + at * d;
  std::memcpy(next, cache.x_mid + at * d, static_cast<size_t>(rows * d) * sizeof(float));
  part.multiply.nn(rows, d, f, cache.active + at * f, f, weights_->layer(layer).down, d, 1.0f, next,
                   d);
  part.clock.lap(StepPart::kProjections);
}

void Decoder::last_norm(Part& part, const float* params) {
  const int64_t d = config_.width, at = part.rows.begin;
  kernels::rms_norm_forward(part.rows.size(), d, static_cast<float>(config_.norm_eps), x_ + at * d,
                            params + offsets_->final_norm, normed_ + at * d, rms_ + at);
  part.clock.lap(StepPart::kNorms);
}

void Decoder::head(Part& part, const Pass& pass) {
  const int64_t d = config_.width, at = part.rows.begin, rows = part.rows.size();
  last_norm(part, pass.params);
  part.loss = part.cross_entropy.loss_and_gradient(
      part.multiply, rows, normed_ + at * d, *weights_, pass.params + offsets_->head, targets_ + at,
      pass.scale, pass.first, dnormed_ + at * d, pass.gradient + offsets_->head);
  part.clock.lap(StepPart::kHead);
  std::fill_n(dx_ + at * d, rows * d, 0.0f);
  kernels::rms_norm_backward(rows, d, dnormed_ + at * d, x_ + at * d,
                             pass.params + offsets_->final_norm, rms_ + at, dx_ + at * d,
                             pass.gradient + offsets_->final_norm);
  part.clock.lap(StepPart::kNorms);
}

void Decoder::back_feed(int64_t layer, Part& part, const Pass& pass) {
  const LayerCache& cache = layers_[layer];
  const LayerOffsets& offsets = offsets_->layers[layer];
  const int64_t d = config_.width, f = config_.ffn, at = part.rows.begin, rows = part.rows.size();
  if (rows == 0) return;
  const float* params = pass.params;
  float* gradient = pass.gradient;
  const float keep = pass.first ? 0.0f : 1.0f;
  float* dx = dx_ + at * d;
  float* dactive = dwide_ + at * f;
  float* gate_up = cache.gate_up + at * 2 * f;
  part.multiply.tn(d, f, rows, dx, d, cache.active + at * f, f, keep, gradient + offsets.down, f);
  part.multiply.nn(rows, f, d, dx, d, params + offsets.down, f, 0.0f, dactive, f);
  part.clock.lap(StepPart::kProjections);
  kernels::swiglu_backward(rows, f, dactive, gate_up);
  part.clock.lap(StepPart::kSwiglu);
  part.multiply.tn(2 * f, d, rows, gate_up, 2 * f, cache.normed_mid + at * d, d, keep,
                   gradient + offsets.gate_up, d);
  part.multiply.nn(rows, d, 2 * f, gate_up, 2 * f, params + offsets.gate_up, d, 0.0f,
                   dnormed_ + at * d, d);
  part.clock.lap(StepPart::kProjections);
  kernels::rms_norm_backward(rows, d, dnormed_ + at * d, cache.x_mid + at * d,
                             params + offsets.ffn_norm, cache.rms_mid + at, dx,
                             gradient + offsets.ffn_norm);
  part.clock.lap(StepPart::kNorms);
  part.multiply.tn(d, q_width_, rows, dx, d, cache.mixed + at * q_width_, q_width_, keep,
                   gradient + offsets.out, q_width_);
  part.multiply.nn(rows, q_width_, d, dx, d, params + offsets.out, q_width_, 0.0f,
                   dmixed_ + at * q_width_, q_width_);
  part.clock.lap(StepPart::kProjections);
}

void Decoder::back_attend(int64_t layer, int part) {
  const LayerCache& cache = layers_[layer];
  const Range heads = parts_[part].heads;
  attention_.backward(rows_ / positions_, heads.begin, heads.end, part, cache.attention,
                      cache.mixed, dmixed_, qkv_);
  parts_[part].clock.lap(StepPart::kAttention);
}

void Decoder::back_enter(int64_t layer, Part& part, const Pass& pass) {
  const LayerCache& cache = layers_[layer];
  const LayerOffsets& offsets = offsets_->layers[layer];
  const int64_t d = config_.width, at = part.rows.begin, rows = part.rows.size();
  if (rows == 0) return;
  const float* dqkv = qkv_ + at * row_width_;
  part.multiply.tn(row_width_, d, rows, dqkv, row_width_, cache.normed + at * d, d,
                   pass.first ? 0.0f : 1.0f, pass.gradient + offsets.qkv, d);
  part.multiply.nn(rows, d, row_width_, dqkv, row_width_, pass.params + offsets.qkv, d, 0.0f,
                   dnormed_ + at * d, d);
  part.clock.lap(StepPart::kProjections);
  kernels::rms_norm_backward(rows, d, dnormed_ + at * d, cache.x + at * d,
                             pass.params + offsets.attention_norm, cache.rms + at, dx_ + at * d,
                             pass.gradient + offsets.attention_norm);
  part.clock.lap(StepPart::kNorms);
}

void Decoder::end(Part& part, const Pass& pass) {
  const int64_t d = config_.width, at = part.rows.begin;
  kernels::scatter_add_rows(part.rows.size(), d, 1.0f, dx_ + at * d, inputs_ + at,
                            pass.gradient + offsets_->embedding);
  part.clock.lap(StepPart::kEmbedding);
}

}  // namespace rubato

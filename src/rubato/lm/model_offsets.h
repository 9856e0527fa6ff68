// Where the engine finds each matrix in the flat buffer. Matrices that are neighbours in the layout
// and share their input are used as one: q, k, v as (H*E + 2*K*E, D), gate and up as (2F, D).
#pragma once

#include <cstdint>
#include <vector>

#include "rubato/base/layout.h"
#include "rubato/lm/model_config.h"

namespace rubato {

struct LayerOffsets {
  int64_t attention_norm;  // (D)
  int64_t qkv;             // (H*E + 2*K*E, D)
  int64_t out;             // (D, H*E)
  int64_t ffn_norm;        // (D)
  int64_t gate_up;         // (2F, D)
  int64_t down;            // (D, F)
};

struct ModelOffsets {
  int64_t embedding;   // (V, D)
  int64_t final_norm;  // (D)
  int64_t head;        // (V, D); the embedding when tied
  std::vector<LayerOffsets> layers;

  /// Aborts when `layout` is not model_layout(config).
  ModelOffsets(const ModelConfig& config, const Layout& layout);
};

}  // namespace rubato

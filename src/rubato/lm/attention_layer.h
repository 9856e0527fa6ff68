// Rotary causal grouped-query attention of a microbatch: projections in, mixed values out. The
// GEMMs around it are the decoder's.
// Legend: M = rows = sequences * T; C = H*E + 2*K*E, a row's queries, keys and values side by side.
#pragma once

#include <cstdint>
#include <vector>

#include "rubato/lm/arena.h"
#include "rubato/lm/kernels/attention.h"
#include "rubato/lm/model_config.h"

namespace rubato {

/// What one layer keeps for its backward pass.
struct AttentionCache {
  float* q;            // H packed matrices a sequence: rotated, scaled
  float* k;            // K packed matrices a sequence: rotated
  float* v;            // K packed matrices a sequence
  float* log_sum_exp;  // (sequences, H, T)
};

class AttentionLayer {
 public:
  /// Takes its rotary tables and scratch for `parts` from `carver`; fill_tables() before the first
  /// use.
  AttentionLayer(const ModelConfig& config, int64_t positions, int parts, bool backward,
                 Carver& carver);
  AttentionCache take_cache(int64_t sequences, Carver& carver) const;
  void fill_tables();

  // Of the key-value heads [begin, end) and the query heads that share them: their columns are read
  // and written, no others, so parts may work side by side.

  /// out (M, H*E) from qkv (M, C).
  void forward(int64_t sequences, int64_t begin, int64_t end, int part, const float* qkv,
               const AttentionCache& cache, float* out);
  /// dqkv (M, C) from dout (M, H*E); `out` is what forward() gave.
  void backward(int64_t sequences, int64_t begin, int64_t end, int part,
                const AttentionCache& cache, const float* out, const float* dout, float* dqkv);

 private:
  struct Scratch {        // of one part
    float* k_transposed;  // one packed head each
    float* v_transposed;
    float* strips;
  };
  void backward_group(const AttentionCache& cache, int64_t sequence, int64_t kv_head,
                      const Scratch& scratch);

  ModelConfig config_;
  kernels::HeadShape shape_;
  int64_t q_width_, row_width_;  // H*E, C
  float* cosine_;                // (T, E/2)
  float* sine_;                  // (T, E/2)
  // Of one sequence, packed by head:
  float* dout_ = nullptr;   // H
  float* along_ = nullptr;  // (H, Tp) <dout, out> by row
  float* dq_ = nullptr;     // H
  float* dk_ = nullptr;     // K
  float* dv_ = nullptr;     // K
  std::vector<Scratch> scratch_;
};

}  // namespace rubato

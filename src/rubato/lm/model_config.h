// The shape of a Llama-style decoder and the layout of its parameters.
// Legend used throughout lm/: B sequences, T positions, L layers, D width, H query heads, K
// key-value heads, E head_dim, F ffn width, V vocabulary, P parameters.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "rubato/base/layout.h"
#include "rubato/base/status.h"

namespace rubato {

struct ModelConfig {
  int64_t layers = 4;     // L
  int64_t width = 128;    // D
  int64_t heads = 4;      // H
  int64_t kv_heads = 4;   // K; divides H
  int64_t head_dim = 32;  // E; even; H*E may differ from D
  int64_t ffn = 384;      // F
  int64_t vocab = 512;    // V
  bool tied = true;       // the head is the embedding
  double rope_theta = 10000.0;
  double norm_eps = 1e-5;

  friend bool operator==(const ModelConfig&, const ModelConfig&) = default;
};

/// The presets of the paper's shapes and the miniature: 20m, 60m, 150m, mini. `vocab` 0 keeps the
/// preset's own. NotFound lists the known names.
StatusOr<ModelConfig> model_preset(std::string_view name, int64_t vocab);
std::span<const std::string> model_preset_names();

/// InvalidArgument `[model] ..` when a shape is impossible.
Status validate(const ModelConfig& config);

/// Names and order of the Hugging Face Llama layout; matrices are (out, in), row-major:
///   model.embed_tokens.weight (V, D); per layer i under model.layers.<i>.: input_layernorm.weight
///   (D), self_attn.q_proj.weight (H*E, D), self_attn.k_proj.weight (K*E, D),
///   self_attn.v_proj.weight (K*E, D), self_attn.o_proj.weight (D, H*E),
///   post_attention_layernorm.weight (D), mlp.gate_proj.weight (F, D), mlp.up_proj.weight (F, D),
///   mlp.down_proj.weight (D, F); model.norm.weight (D); lm_head.weight (V, D) if untied.
Layout model_layout(const ModelConfig& config);

/// Seeded initial parameters [P]: norms 1, matrices normal with deviation 0.02, those that write
/// into the residual stream (o_proj, down_proj) 0.02/sqrt(2L), each tensor from its own random
/// stream.
void initialise_model(const ModelConfig& config, const Layout& layout, uint64_t seed,
                      std::span<float> params);

/// Floating-point operations of one token's forward and backward pass: 6*N_matmul + 6*L*H*E*(T+1),
/// the head counted, the embedding lookup not; causal attention counted by the pairs it needs.
double model_flops_per_token(const ModelConfig& config, int64_t sequence_length);

}  // namespace rubato

#include "rubato/lm/model_offsets.h"

#include "rubato/base/status.h"

namespace rubato {
namespace {

int64_t offset_of(const Layout& layout, const std::string& name) {
  const TensorSpec* tensor = layout.find(name);
  RUBATO_CHECK(tensor != nullptr, "[model] no tensor ", name);
  return tensor->offset;
}

}  // namespace

ModelOffsets::ModelOffsets(const ModelConfig& config, const Layout& layout)
    : embedding(offset_of(layout, "model.embed_tokens.weight")),
      final_norm(offset_of(layout, "model.norm.weight")),
      head(config.tied ? embedding : offset_of(layout, "lm_head.weight")) {
  const int64_t d = config.width, q = config.heads * config.head_dim,
                kv = config.kv_heads * config.head_dim;
  for (int64_t i = 0; i < config.layers; ++i) {
    const auto at = [&](const char* name) {
      return offset_of(layout, cat("model.layers.", i, ".", name));
    };
    layers.push_back({.attention_norm = at("input_layernorm.weight"),
                      .qkv = at("self_attn.q_proj.weight"),
                      .out = at("self_attn.o_proj.weight"),
                      .ffn_norm = at("post_attention_layernorm.weight"),
                      .gate_up = at("mlp.gate_proj.weight"),
                      .down = at("mlp.down_proj.weight")});
    const LayerOffsets& layer = layers.back();
    RUBATO_CHECK(at("self_attn.k_proj.weight") == layer.qkv + q * d &&
                 at("self_attn.v_proj.weight") == layer.qkv + (q + kv) * d &&
                 at("mlp.up_proj.weight") == layer.gate_up + config.ffn * d);
  }
}

}  // namespace rubato

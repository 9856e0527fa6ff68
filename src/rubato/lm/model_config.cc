#include "rubato/lm/model_config.h"

#include <array>
#include <cmath>

#include "rubato/base/options.h"
#include "rubato/base/rng.h"

namespace rubato {
namespace {

struct Preset {
  const char* name;
  ModelConfig config;
};

// Liu et al. 2024, appendix; the paper's attention width differs from the width for 60m and 150m.
// `mini` is ours.
const std::array<Preset, 4> kPresets = {{
    {"20m",
     {.layers = 6,
      .width = 256,
      .heads = 4,
      .kv_heads = 4,
      .head_dim = 64,
      .ffn = 704,
      .vocab = 32000,
      .tied = false}},
    {"60m",
     {.layers = 3,
      .width = 896,
      .heads = 16,
      .kv_heads = 16,
      .head_dim = 64,
      .ffn = 2368,
      .vocab = 32000,
      .tied = true}},
    {"150m",
     {.layers = 12,
      .width = 896,
      .heads = 16,
      .kv_heads = 16,
      .head_dim = 64,
      .ffn = 2368,
      .vocab = 32000,
      .tied = true}},
    {"mini",
     {.layers = 4,
      .width = 128,
      .heads = 4,
      .kv_heads = 4,
      .head_dim = 32,
      .ffn = 384,
      .vocab = 512,
      .tied = true}},
}};

const std::array<std::string, 4> kPresetNames = {"20m", "60m", "150m", "mini"};

bool writes_residual(const std::string& name) {
  return name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight");
}

}  // namespace

StatusOr<ModelConfig> model_preset(std::string_view name, int64_t vocab) {
  for (const Preset& preset : kPresets) {
    if (name != preset.name) continue;
    ModelConfig config = preset.config;
    if (vocab > 0) config.vocab = vocab;
    return config;
  }
  return absl::NotFoundError(cat("[model] unknown preset ", name, suggestion(name, kPresetNames)));
}

std::span<const std::string> model_preset_names() { return kPresetNames; }

namespace {

// Far beyond what any machine holds, so that sums of planes in bytes stay within 64 bits.
constexpr double kMostParams = 1e14;

// Norms left out; cannot overflow.
double approximate_params(const ModelConfig& config) {
  const auto of = [](int64_t value) { return static_cast<double>(value); };
  const double head = of(config.head_dim);
  const double layer =
      2 * of(config.heads) * head + 2 * of(config.kv_heads) * head + 3 * of(config.ffn);
  return of(config.width) * (of(config.layers) * layer + of(config.vocab) * (config.tied ? 1 : 2));
}

}  // namespace

Status validate(const ModelConfig& config) {
  const auto want = [](std::string_view what, int64_t got, std::string_view wanted) {
    return absl::InvalidArgumentError(cat("[model] ", what, ": got ", got, ", want ", wanted));
  };
  for (const auto& [what, got] : {std::pair<std::string_view, int64_t>{"layers", config.layers},
                                  {"width", config.width},
                                  {"heads", config.heads},
                                  {"kv_heads", config.kv_heads},
                                  {"ffn", config.ffn},
                                  {"vocab", config.vocab}}) {
    if (got < 1) return want(what, got, "at least 1");
  }
  if (config.head_dim < 2 || config.head_dim % 2 != 0)
    return want("head_dim", config.head_dim, "an even number of at least 2");
  if (config.heads % config.kv_heads != 0) {
    return want("kv_heads", config.kv_heads, cat("a divisor of heads = ", config.heads));
  }
  if (const double params = approximate_params(config); params > kMostParams) {
    return absl::InvalidArgumentError(
        cat("[model] got about ", params, " parameters, want at most ", kMostParams));
  }
  return absl::OkStatus();
}

Layout model_layout(const ModelConfig& config) {
  const int64_t d = config.width, q = config.heads * config.head_dim,
                kv = config.kv_heads * config.head_dim;
  Layout layout;
  layout.add("model.embed_tokens.weight", {config.vocab, d}, TensorRole::kEmbedding);
  for (int64_t i = 0; i < config.layers; ++i) {
    const std::string prefix = cat("model.layers.", i, ".");
    layout.add(prefix + "input_layernorm.weight", {d}, TensorRole::kNorm);
    layout.add(prefix + "self_attn.q_proj.weight", {q, d}, TensorRole::kMatrix);
    layout.add(prefix + "self_attn.k_proj.weight", {kv, d}, TensorRole::kMatrix);
    layout.add(prefix + "self_attn.v_proj.weight", {kv, d}, TensorRole::kMatrix);
    layout.add(prefix + "self_attn.o_proj.weight", {d, q}, TensorRole::kMatrix);
    layout.add(prefix + "post_attention_layernorm.weight", {d}, TensorRole::kNorm);
    layout.add(prefix + "mlp.gate_proj.weight", {config.ffn, d}, TensorRole::kMatrix);
    layout.add(prefix + "mlp.up_proj.weight", {config.ffn, d}, TensorRole::kMatrix);
    layout.add(prefix + "mlp.down_proj.weight", {d, config.ffn}, TensorRole::kMatrix);
  }
  layout.add("model.norm.weight", {d}, TensorRole::kNorm);
  if (!config.tied) layout.add("lm_head.weight", {config.vocab, d}, TensorRole::kEmbedding);
  return layout;
}

void initialise_model(const ModelConfig& config, const Layout& layout, uint64_t seed,
                      std::span<float> params) {
  RUBATO_CHECK(static_cast<int64_t>(params.size()) == layout.size());
  uint64_t index = 0;
  for (const TensorSpec& tensor : layout.tensors()) {
    const std::span<float> values = params.subspan(tensor.offset, tensor.size);
    if (tensor.role == TensorRole::kNorm) {
      for (float& value : values) value = 1.0f;
    } else {
      double deviation = 0.02;
      if (writes_residual(tensor.name))
        deviation /= std::sqrt(2.0 * static_cast<double>(config.layers));
      Rng rng(seed, RngStream::kParameters, index);
      for (float& value : values) value = static_cast<float>(deviation * rng.normal());
    }
    ++index;
  }
}

double model_flops_per_token(const ModelConfig& config, int64_t sequence_length) {
  const int64_t q = config.heads * config.head_dim, kv = config.kv_heads * config.head_dim;
  const int64_t per_layer =
      2 * config.width * q + 2 * config.width * kv + 3 * config.width * config.ffn;
  const int64_t matmul = config.layers * per_layer + config.vocab * config.width;
  return 6.0 * static_cast<double>(matmul) +
         6.0 * static_cast<double>(config.layers * q) * static_cast<double>(sequence_length + 1);
}

}  // namespace rubato

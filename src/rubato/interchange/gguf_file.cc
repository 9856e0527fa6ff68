#include "rubato/interchange/gguf_file.h"

#include <algorithm>
#include <array>

#include "rubato/interchange/gguf_header.h"

namespace rubato {
namespace {

using Piece = SentencepieceModel::Piece;
using Kind = SentencepieceModel::Kind;

// A tensor of ours and what becomes of it.
struct Source {
  int64_t offset = 0, rows = 1, cols = 1;
  int64_t head_rows = 0;  // E of a matrix that RoPE turns; 0: rows stay where they are
};

struct Placed {
  GgufTensor tensor;
  Source source;
};

constexpr std::array<std::pair<std::string_view, std::string_view>, 9> kLayerNames = {
    {{"input_layernorm", "attn_norm"},
     {"self_attn.q_proj", "attn_q"},
     {"self_attn.k_proj", "attn_k"},
     {"self_attn.v_proj", "attn_v"},
     {"self_attn.o_proj", "attn_output"},
     {"post_attention_layernorm", "ffn_norm"},
     {"mlp.gate_proj", "ffn_gate"},
     {"mlp.up_proj", "ffn_up"},
     {"mlp.down_proj", "ffn_down"}}};

// model.layers.3.mlp.up_proj.weight -> blk.3.ffn_up.weight
std::string llama_cpp_name(std::string_view name) {
  if (name == "model.embed_tokens.weight") return "token_embd.weight";
  if (name == "model.norm.weight") return "output_norm.weight";
  if (name == "lm_head.weight") return "output.weight";
  constexpr std::string_view kLayers = "model.layers.", kWeight = ".weight";
  RUBATO_CHECK(name.starts_with(kLayers) && name.ends_with(kWeight), name);
  name.remove_prefix(kLayers.size());
  name.remove_suffix(kWeight.size());
  const size_t dot = name.find('.');
  const auto at = std::ranges::find(kLayerNames, name.substr(dot + 1),
                                    [](const auto& pair) { return pair.first; });
  RUBATO_CHECK(at != kLayerNames.end(), name);
  return cat("blk.", name.substr(0, dot), ".", at->second, kWeight);
}

WeightType stored_type(WeightType wanted, const TensorSpec& tensor) {
  if (tensor.role == TensorRole::kNorm) return WeightType::kF32;
  const bool whole_blocks = tensor.shape.back() % kQ8Block == 0;
  return wanted == WeightType::kQ8_0 && !whole_blocks ? WeightType::kF16 : wanted;
}

std::vector<Placed> place(const ModelConfig& config, const Layout& layout, WeightType type) {
  std::vector<Placed> placed;
  for (const TensorSpec& tensor : layout.tensors()) {
    const bool turned =
        tensor.name.ends_with("q_proj.weight") || tensor.name.ends_with("k_proj.weight");
    const int64_t cols = tensor.shape.back();
    placed.push_back({{.name = llama_cpp_name(tensor.name),
                       .type = stored_type(type, tensor),
                       .shape = tensor.shape},
                      {.offset = tensor.offset,
                       .rows = tensor.size / cols,
                       .cols = cols,
                       .head_rows = turned ? config.head_dim : 0}});
  }
  return placed;
}

// The row of ours that becomes row `row`: 2i + j of a head is j * E/2 + i.
int64_t source_row(const Source& source, int64_t row) {
  if (source.head_rows == 0) return row;
  const int64_t within = row % source.head_rows;
  return row - within + within % 2 * (source.head_rows / 2) + within / 2;
}

void add_shape(const PortableModel& model, GgufHeader& header) {
  const ModelConfig& config = model.config;
  const auto count = [&](std::string_view key, int64_t value) {
    header.add(cat("llama.", key), static_cast<uint32_t>(value));
  };
  count("vocab_size", config.vocab);
  count("context_length", model.context_tokens);
  count("embedding_length", config.width);
  count("block_count", config.layers);
  count("feed_forward_length", config.ffn);
  count("attention.head_count", config.heads);
  count("attention.head_count_kv", config.kv_heads);
  count("attention.key_length", config.head_dim);
  count("attention.value_length", config.head_dim);
  count("rope.dimension_count", config.head_dim);
  header.add("llama.rope.freq_base", static_cast<float>(config.rope_theta));
  header.add("llama.attention.layer_norm_rms_epsilon", static_cast<float>(config.norm_eps));
}

// Source: enum llama_token_type.
int32_t token_type(Kind kind) {
  switch (kind) {
    case Kind::kNormal:
      return 1;
    case Kind::kUnknown:
      return 2;
    case Kind::kControl:
      return 3;
    case Kind::kUnused:
      return 5;
    case Kind::kByte:
      return 6;
  }
  return 1;
}

void add_vocabulary(const std::vector<Piece>& pieces, GgufHeader& header) {
  std::vector<std::string> texts;
  std::vector<float> scores;
  std::vector<int32_t> types;
  for (const Piece& piece : pieces) {
    texts.push_back(piece.text);
    scores.push_back(piece.score);
    types.push_back(token_type(piece.kind));
  }
  header.add("tokenizer.ggml.model", "llama");
  header.add("tokenizer.ggml.pre", "default");
  header.add("tokenizer.ggml.tokens", texts);
  header.add("tokenizer.ggml.scores", scores);
  header.add("tokenizer.ggml.token_type", types);
  header.add("tokenizer.ggml.bos_token_id", static_cast<uint32_t>(Tokenizer::kBos));
  header.add("tokenizer.ggml.eos_token_id", static_cast<uint32_t>(Tokenizer::kEos));
  header.add("tokenizer.ggml.unknown_token_id", static_cast<uint32_t>(Tokenizer::kUnknown));
  header.add("tokenizer.ggml.add_bos_token", true);
  header.add("tokenizer.ggml.add_eos_token", false);
  header.add("tokenizer.ggml.add_space_prefix", false);
}

// Source: enum llama_ftype.
uint32_t file_type(WeightType type) {
  return type == WeightType::kF32 ? 0 : type == WeightType::kF16 ? 1 : 7;
}

Status append_tensor(const PortableModel& model, const Placed& placed, WritableFile& file) {
  constexpr size_t kFlush = 4 << 20;  // [bytes]
  const Source& source = placed.source;
  std::string bytes;
  for (int64_t row = 0; row < source.rows; ++row) {
    const auto values =
        model.params.subspan(source.offset + source_row(source, row) * source.cols, source.cols);
    RUBATO_RETURN_IF_ERROR(
        annotate(append_weights(placed.tensor.type, values, bytes), placed.tensor.name));
    if (bytes.size() < kFlush) continue;
    RUBATO_RETURN_IF_ERROR(file.append(bytes));
    bytes.clear();
  }
  const int64_t over = placed.tensor.bytes() % kGgufAlignment;
  bytes.append(static_cast<size_t>(over == 0 ? 0 : kGgufAlignment - over), '\0');
  return file.append(bytes);
}

Status write_file(FileSystem& files, const std::string& path, const PortableModel& model,
                  const std::string& header, std::span<const Placed> placed) {
  RUBATO_ASSIGN_OR_RETURN(const auto file, files.create(path));
  RUBATO_RETURN_IF_ERROR(file->append(header));
  for (const Placed& tensor : placed) RUBATO_RETURN_IF_ERROR(append_tensor(model, tensor, *file));
  RUBATO_RETURN_IF_ERROR(file->sync());
  return file->close();
}

}  // namespace

Status write_gguf(FileSystem& files, const std::string& path, const PortableModel& model,
                  WeightType type) {
  RUBATO_RETURN_IF_ERROR(check_portable(model));
  RUBATO_ASSIGN_OR_RETURN(const auto pieces, portable_pieces(*model.tokenizer));
  GgufHeader header;
  header.add("general.architecture", "llama");
  header.add("general.name", model.name);
  header.add("general.alignment", static_cast<uint32_t>(kGgufAlignment));
  header.add("general.file_type", file_type(type));
  header.add("general.quantization_version", uint32_t{2});
  add_shape(model, header);
  add_vocabulary(pieces, header);
  std::vector<Placed> placed = place(model.config, model_layout(model.config), type);
  std::vector<GgufTensor> tensors;
  for (const Placed& one : placed) tensors.push_back(one.tensor);
  take_offsets(tensors);
  return make_file(files, path, [&](const std::string& partial) {
    return write_file(files, partial, model, header.encode(tensors), placed);
  });
}

}  // namespace rubato

#include "rubato/interchange/llama_config.h"

#include <limits>
#include <optional>

#include <nlohmann/json.hpp>

#include "rubato/text/tokenizer.h"

namespace rubato {
namespace {

using Json = nlohmann::ordered_json;

// Reads fields and keeps the first complaint, so that reading code has no branches. A field that is
// null counts as absent, as it does for the reader of transformers.
class ConfigReader {
 public:
  ConfigReader(std::string_view who, const Json& object) : who_(who), object_(object) {}

  int64_t count(const char* name, std::optional<int64_t> otherwise = {}) {
    const Json* field = find(name);
    if (field == nullptr && otherwise) return *otherwise;
    if (field != nullptr && field->is_number_integer() && *field > 0 &&
        *field <= std::numeric_limits<int32_t>::max())
      return field->get<int64_t>();
    complain(name, field, "a number from 1 to 2147483647");
    return 1;
  }

  double real(const Json* object, const char* name, double otherwise) {
    const Json* field = find(object, name);
    if (field == nullptr) return otherwise;
    if (field->is_number() && *field > 0) return field->get<double>();
    complain(name, field, "a number above 0");
    return otherwise;
  }
  double real(const char* name, double otherwise) { return real(&object_, name, otherwise); }

  bool flag(const char* name, bool otherwise) {
    const Json* field = find(name);
    if (field == nullptr) return otherwise;
    if (field->is_boolean()) return field->get<bool>();
    complain(name, field, "true or false");
    return otherwise;
  }

  // The field has to be `want` where it is there.
  void demand(const Json* object, const char* name, const Json& want) {
    const Json* field = find(object, name);
    if (field != nullptr && *field != want) refuse(name, *field, want.dump());
  }
  void demand(const char* name, const Json& want) { demand(&object_, name, want); }

  void demand_absent(const char* name) {
    const Json* field = find(name);
    if (field != nullptr) refuse(name, *field, "none");
  }

  const Json* find(const char* name) const { return find(&object_, name); }

  const Status& status() const { return status_; }

 private:
  static const Json* find(const Json* object, const char* name) {
    if (object == nullptr || !object->is_object()) return nullptr;
    const auto at = object->find(name);
    return at == object->end() || at->is_null() ? nullptr : &*at;
  }
  // A value of others, in a few words; nesting without end is not for a message.
  static std::string shown(const Json& value) {
    if (value.is_structured()) return value.is_array() ? "a list" : "an object";
    std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
    if (text.size() > 60) text = text.substr(0, 60) + "..";
    return text;
  }
  void complain(const char* name, const Json* field, std::string_view want) {
    if (!status_.ok()) return;
    status_ =
        absl::DataLossError(cat("[import] ", who_, ": ", name, ": got ",
                                field == nullptr ? "nothing" : shown(*field), ", want ", want));
  }
  void refuse(const char* name, const Json& field, std::string_view want) {
    if (!status_.ok()) return;
    status_ = absl::FailedPreconditionError(
        cat("[import] ", who_, ": ", name, ": got ", shown(field), ", want ", want,
            "; this program has a Llama-style decoder and nothing else"));
  }

  std::string_view who_;
  const Json& object_;
  Status status_;
};

// Old files have rope_theta beside rope_scaling, newer ones rope_parameters.
double read_rope(ConfigReader& read) {
  double theta = read.real("rope_theta", 10000.0);
  for (const char* name : {"rope_scaling", "rope_parameters"}) {
    const Json* rope = read.find(name);
    read.demand(rope, "rope_type", "default");
    read.demand(rope, "type", "default");
    theta = read.real(rope, "rope_theta", theta);
  }
  return theta;
}

}  // namespace

std::string to_json(const LlamaConfig& config) {
  const ModelConfig& model = config.model;
  const Json json = {{"architectures", Json::array({"LlamaForCausalLM"})},
                     {"model_type", "llama"},
                     {"vocab_size", model.vocab},
                     {"hidden_size", model.width},
                     {"intermediate_size", model.ffn},
                     {"num_hidden_layers", model.layers},
                     {"num_attention_heads", model.heads},
                     {"num_key_value_heads", model.kv_heads},
                     {"head_dim", model.head_dim},
                     {"hidden_act", "silu"},
                     {"max_position_embeddings", config.context_tokens},
                     {"rms_norm_eps", model.norm_eps},
                     {"rope_theta", model.rope_theta},
                     {"rope_scaling", nullptr},
                     {"attention_bias", false},
                     {"mlp_bias", false},
                     {"tie_word_embeddings", model.tied},
                     {"bos_token_id", Tokenizer::kBos},
                     {"eos_token_id", Tokenizer::kEos},
                     {"initializer_range", 0.02},
                     {"torch_dtype", config.dtype},
                     {"use_cache", true}};
  return json.dump(2) + "\n";
}

StatusOr<LlamaConfig> parse_llama_config(std::string_view who, std::string_view text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) {
    return absl::DataLossError(
        cat("[import] ", who, ": got no JSON object, want a model's config"));
  }
  ConfigReader read(who, json);
  read.demand("model_type", "llama");
  read.demand("architectures", Json::array({"LlamaForCausalLM"}));
  read.demand("hidden_act", "silu");
  read.demand("attention_bias", false);
  read.demand("mlp_bias", false);
  read.demand("partial_rotary_factor", 1.0);
  read.demand_absent("sliding_window");
  read.demand_absent("quantization_config");

  LlamaConfig config;
  ModelConfig& model = config.model;
  model.layers = read.count("num_hidden_layers");
  model.width = read.count("hidden_size");
  model.heads = read.count("num_attention_heads");
  model.kv_heads = read.count("num_key_value_heads", model.heads);
  model.head_dim = read.count("head_dim", std::max<int64_t>(model.width / model.heads, 1));
  model.ffn = read.count("intermediate_size");
  model.vocab = read.count("vocab_size");
  model.tied = read.flag("tie_word_embeddings", false);
  model.norm_eps = read.real("rms_norm_eps", 1e-6);
  model.rope_theta = read_rope(read);
  config.context_tokens = read.count("max_position_embeddings", 2048);
  RUBATO_RETURN_IF_ERROR(read.status());
  RUBATO_RETURN_IF_ERROR(annotate(validate(model), who));
  return config;
}

}  // namespace rubato

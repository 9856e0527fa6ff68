#include "rubato/interchange/llama_config.h"

#include "tests/interchange/tiny_model.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace rubato {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using Json = nlohmann::json;

Json least() {
  return {{"model_type", "llama"},    {"vocab_size", 300},      {"hidden_size", 64},
          {"intermediate_size", 128}, {"num_hidden_layers", 2}, {"num_attention_heads", 4}};
}

std::string complaint(const Json& json) {
  const auto config = parse_llama_config("dir/config.json", json.dump());
  return config.ok() ? "" : std::string(config.status().message());
}

TEST(LlamaConfig, WhatIsWrittenReadsAsTheSame) {
  for (ModelConfig model : {ModelConfig(), grouped_untied_shape()}) {
    const LlamaConfig config{.model = model, .context_tokens = 77};
    const auto back = parse_llama_config("it", to_json(config));
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(back->model, model);
    EXPECT_EQ(back->context_tokens, 77);
  }
}

TEST(LlamaConfig, WhatIsLeftOutIsAsTransformersHasIt) {
  const auto config = parse_llama_config("it", least().dump());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->model.kv_heads, 4);
  EXPECT_EQ(config->model.head_dim, 16);
  EXPECT_EQ(config->model.norm_eps, 1e-6);
  EXPECT_EQ(config->model.rope_theta, 10000);
  EXPECT_FALSE(config->model.tied);
  EXPECT_EQ(config->context_tokens, 2048);
}

TEST(LlamaConfig, TheRotationIsFoundWhereNewerFilesHaveIt) {
  Json json = least();
  json["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 500000.0}};
  const auto config = parse_llama_config("it", json.dump());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->model.rope_theta, 500000);
}

TEST(LlamaConfig, AnotherModelIsRefusedByWhatMakesItOne) {
  const std::pair<const char*, Json> others[] = {
      {"model_type", "gpt2"},
      {"architectures", {"MistralForCausalLM", "b"}},
      {"hidden_act", "gelu"},
      {"attention_bias", true},
      {"mlp_bias", true},
      {"sliding_window", 4096},
      {"quantization_config", {{"bits", 4}}},
      {"partial_rotary_factor", 0.5},
  };
  for (const auto& [name, value] : others) {
    Json json = least();
    json[name] = value;
    EXPECT_THAT(complaint(json), AllOf(StartsWith("[import] dir/config.json: "), HasSubstr(name),
                                       HasSubstr("want")));
  }
  Json scaled = least();
  scaled["rope_scaling"] = {{"rope_type", "llama3"}, {"factor", 8.0}};
  EXPECT_THAT(complaint(scaled), HasSubstr("rope_type: got \"llama3\""));
}

TEST(LlamaConfig, NumbersThatAreNoneAreNamed) {
  for (const char* name : {"hidden_size", "num_hidden_layers", "vocab_size"}) {
    for (const Json& value : {Json(0), Json(-3), Json("many"), Json(1.5), Json(1e300), Json()}) {
      Json json = least();
      json[name] = value;
      EXPECT_THAT(complaint(json), HasSubstr(cat(name, ": got "))) << value;
    }
  }
  Json uneven = least();
  uneven["num_key_value_heads"] = 3;
  EXPECT_THAT(complaint(uneven), HasSubstr("kv_heads"));
  EXPECT_NE(complaint(Json::array()), "");
  EXPECT_FALSE(parse_llama_config("it", "{").ok());
}

}  // namespace
}  // namespace rubato

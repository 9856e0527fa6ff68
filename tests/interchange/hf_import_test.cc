#include "rubato/interchange/hf_import.h"

#include <cstring>

#include "tests/interchange/tiny_model.h"
#include "tests/text/sample_text.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "rubato/base/digest.h"
#include "rubato/interchange/hf_directory.h"
#include "rubato/interchange/initial_model.h"
#include "rubato/store/memory_file_system.h"
#include "rubato/store/safetensors.h"
#include "rubato/text/sentencepiece_loader.h"

namespace rubato {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::string words(const Status& status) {
  return std::string(status.message().data(), status.message().size());
}

// The tensors of `model` in several files behind an index, as BF16 in the second.
void write_sharded(MemoryFileSystem& files, const TinyModel& model) {
  const Layout layout = model_layout(model.config);
  json map = json::object();
  for (const int shard : {0, 1}) {
    const std::string name = cat("model-0000", shard + 1, "-of-00002.safetensors");
    std::vector<TensorInfo> infos;
    for (size_t i = shard; i < layout.tensors().size(); i += 2) {
      const TensorSpec& tensor = layout.tensors()[i];
      map[tensor.name] = name;
      infos.push_back(tensor_info(tensor.name, shard == 0 ? TensorType::kF32 : TensorType::kBf16,
                                  tensor.shape));
    }
    auto writer = SafetensorsWriter::create(files, "hf/" + name, infos, {}).value();
    for (const TensorInfo& info : infos) {
      const TensorSpec& tensor = *layout.find(info.name);
      std::string bytes;
      for (int64_t k = 0; k < tensor.size; ++k) {
        const char* value = reinterpret_cast<const char*>(&model.params[tensor.offset + k]);
        bytes.append(shard == 0 ? value : value + 2, shard == 0 ? 4 : 2);
      }
      ASSERT_TRUE(writer.write(info.name, bytes).ok());
    }
    ASSERT_TRUE(writer.finish().ok());
  }
  const json index = {{"metadata", {{"total_size", 1}}}, {"weight_map", map}};
  ASSERT_TRUE(files.replace_file("hf/model.safetensors.index.json", index.dump()).ok());
}

void write_whole(MemoryFileSystem& files, const TinyModel& model) {
  ASSERT_TRUE(write_hf_directory(files, "hf", model.portable(), WeightType::kF32).ok());
}

void change_config(MemoryFileSystem& files, const char* key, const json& value) {
  json config = json::parse(files.read_file("hf/config.json").value());
  config[key] = value;
  ASSERT_TRUE(files.replace_file("hf/config.json", config.dump()).ok());
}

TEST(HfImport, WhatWasExportedComesBack) {
  for (const ModelConfig& shape : {ModelConfig(), grouped_untied_shape()}) {
    MemoryFileSystem files;
    const TinyModel model = tiny_model(shape);
    write_whole(files, model);
    const auto back = read_hf_directory(files, "hf");
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(back->config.model, model.config);
    EXPECT_EQ(back->params, model.params);
    EXPECT_EQ(back->tokenizer->model(), model.tokenizer->model());
    EXPECT_FALSE(back->dropped_prefix);
  }
}

TEST(HfImport, ShardsOfSeveralTypesAreOneModel) {
  MemoryFileSystem files;
  TinyModel model = tiny_model(grouped_untied_shape());
  write_whole(files, model);
  ASSERT_TRUE(files.remove_file("hf/model.safetensors").ok());
  write_sharded(files, model);
  const auto back = read_hf_directory(files, "hf");
  ASSERT_TRUE(back.ok()) << back.status();
  const Layout layout = model_layout(model.config);
  for (size_t i = 0; i < layout.tensors().size(); ++i) {
    const TensorSpec& tensor = layout.tensors()[i];
    for (int64_t k = tensor.offset; k < tensor.offset + tensor.size; ++k) {
      uint32_t bits = 0;
      std::memcpy(&bits, &model.params[k], 4);
      if (i % 2 == 1) bits &= 0xffff0000;
      uint32_t got = 0;
      std::memcpy(&got, &back->params[k], 4);
      ASSERT_EQ(got, bits) << tensor.name;
    }
  }
}

TEST(HfImport, AnIndexNamesOnlyFilesBesideIt) {
  for (const char* name : {"../secret.safetensors", "/etc/passwd", ".hidden", ""}) {
    MemoryFileSystem files;
    write_whole(files, tiny_model());
    const json index = {{"weight_map", {{"model.norm.weight", name}}}};
    ASSERT_TRUE(files.replace_file("hf/model.safetensors.index.json", index.dump()).ok());
    const Status status = read_hf_directory(files, "hf").status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << name;
    EXPECT_THAT(words(status), HasSubstr("no file beside the index"));
  }
}

TEST(HfImport, WhatIsMissingIsNamed) {
  for (const char* name : {"config.json", "tokenizer.model", "model.safetensors"}) {
    MemoryFileSystem files;
    write_whole(files, tiny_model());
    ASSERT_TRUE(files.remove_file(cat("hf/", name)).ok());
    const Status status = read_hf_directory(files, "hf").status();
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << name;
    EXPECT_THAT(words(status), HasSubstr(name));
  }
}

TEST(HfImport, TensorsHaveToBeThoseOfTheConfig) {
  const TinyModel model = tiny_model();
  const auto complaint = [&](const char* key, const json& value) {
    MemoryFileSystem files;
    write_whole(files, model);
    change_config(files, key, value);
    const Status status = read_hf_directory(files, "hf").status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << key;
    return words(status);
  };
  EXPECT_THAT(complaint("num_hidden_layers", 5),
              HasSubstr("got no tensor model.layers.4.input_layernorm.weight"));
  EXPECT_THAT(complaint("num_hidden_layers", 3), HasSubstr("want no tensor beyond"));
  EXPECT_THAT(complaint("intermediate_size", 32),
              AllOf(HasSubstr("gate_proj.weight: got F32 [384,128]"), HasSubstr("[32,128]")));
  EXPECT_THAT(complaint("tie_word_embeddings", false), HasSubstr("lm_head.weight"));
  EXPECT_THAT(complaint("vocab_size", 500), HasSubstr("got 400 pieces, want 500"));
}

// As Llama's own: a space in front of every text.
TEST(HfImport, ADummyPrefixIsDroppedAndSaid) {
  std::string error;
  const std::string prefixed =
      sentencepiece_library().value()->train({{"model_type", "bpe"},
                                              {"vocab_size", "400"},
                                              {"byte_fallback", "true"},
                                              {"normalization_rule_name", "identity"},
                                              {"remove_extra_whitespaces", "false"},
                                              {"num_threads", "1"}},
                                             sample_passages(), error);
  ASSERT_NE(prefixed, "") << error;
  EXPECT_FALSE(Tokenizer::from_model(prefixed).ok()) << "it changes text";
  MemoryFileSystem files;
  write_whole(files, tiny_model());
  ASSERT_TRUE(files.replace_file("hf/tokenizer.model", prefixed).ok());
  const auto model = read_hf_directory(files, "hf");
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_TRUE(model->dropped_prefix);
  std::vector<int32_t> tokens;
  ASSERT_TRUE(model->tokenizer->encode("the worker\n", tokens).ok());
  EXPECT_EQ(model->tokenizer->decode(tokens), "the worker\n");
}

TEST(InitialModel, IsWhatImportWrote) {
  MemoryFileSystem files;
  const TinyModel model = tiny_model(grouped_untied_shape());
  write_whole(files, model);
  const auto start = InitialModel::open(files, "hf");
  ASSERT_TRUE(start.ok()) << start.status();
  EXPECT_EQ(start->config(), model.config);
  EXPECT_EQ(start->tokenizer_digest(), digest_of(model.tokenizer->model()));
  std::vector<float> params(model.params.size());
  ASSERT_TRUE(start->read(model_layout(model.config), params).ok());
  EXPECT_EQ(params, model.params);

  ModelConfig other = model.config;
  other.layers = 3;
  params.resize(static_cast<size_t>(model_layout(other).size()));
  EXPECT_THAT(words(start->read(model_layout(other), params)), HasSubstr("model.layers.2."));
}

TEST(InitialModel, OtherTypesAreToBeImported) {
  MemoryFileSystem files;
  const TinyModel model = tiny_model();
  ASSERT_TRUE(write_hf_directory(files, "hf", model.portable(), WeightType::kF16).ok());
  std::vector<float> params(model.params.size());
  const auto start = InitialModel::open(files, "hf");
  ASSERT_TRUE(start.ok()) << start.status();
  EXPECT_THAT(words(start->read(model_layout(model.config), params)),
              AllOf(HasSubstr("got F16"), HasSubstr("rubato import")));
  EXPECT_EQ(InitialModel::open(files, "nowhere").status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace rubato

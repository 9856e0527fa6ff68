#include "rubato/interchange/hf_directory.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "tests/interchange/tiny_model.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "rubato/interchange/hf_tokenizer.h"
#include "rubato/store/memory_file_system.h"
#include "rubato/store/safetensors.h"

namespace rubato {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> names_in(FileSystem& files, const std::string& directory) {
  std::vector<std::string> names;
  const std::vector<DirectoryEntry> entries = files.list(directory).value();
  for (const DirectoryEntry& entry : entries) names.push_back(entry.name);
  return names;
}

TEST(HfDirectory, HoldsTheParametersAsTheyAre) {
  MemoryFileSystem files;
  const TinyModel model = tiny_model(grouped_untied_shape());
  ASSERT_TRUE(write_hf_directory(files, "out", model.portable(), WeightType::kF32).ok());
  EXPECT_THAT(names_in(files, "out"),
              ElementsAre("config.json", "generation_config.json", "model.safetensors",
                          "tokenizer.json", "tokenizer.model", "tokenizer_config.json"));
  const auto reader = SafetensorsReader::open(files, "out/model.safetensors");
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ(reader->metadata().at("format"), "pt");
  const Layout layout = model_layout(model.config);
  ASSERT_EQ(reader->tensors().size(), layout.tensors().size());
  for (const TensorSpec& tensor : layout.tensors()) {
    std::vector<float> values(static_cast<size_t>(tensor.size));
    ASSERT_TRUE(reader->read(tensor.name, values).ok()) << tensor.name;
    EXPECT_EQ(reader->find(tensor.name)->shape, tensor.shape);
    EXPECT_TRUE(std::equal(values.begin(), values.end(), model.params.begin() + tensor.offset));
  }
  EXPECT_EQ(files.read_file("out/tokenizer.model").value(), model.tokenizer->model());
}

TEST(HfDirectory, HalvesAreTheNearest) {
  MemoryFileSystem files;
  const TinyModel model = tiny_model();
  ASSERT_TRUE(write_hf_directory(files, "out", model.portable(), WeightType::kF16).ok());
  const auto reader = SafetensorsReader::open(files, "out/model.safetensors").value();
  const TensorInfo& embedding = *reader.find("model.embed_tokens.weight");
  EXPECT_EQ(embedding.type, TensorType::kF16);
  std::vector<float> values(static_cast<size_t>(embedding.bytes / 2));
  ASSERT_TRUE(widen_weights(embedding.type, reader.data(embedding), values));
  for (size_t i = 0; i < values.size(); ++i)
    ASSERT_NEAR(values[i], model.params[i], std::abs(model.params[i]) / 2048 + 1e-7);
  EXPECT_EQ(json::parse(files.read_file("out/config.json").value())["torch_dtype"], "float16");
}

TEST(HfDirectory, TypesOfOtherFormatsAreRefused) {
  MemoryFileSystem files;
  const TinyModel model = tiny_model();
  const Status status = write_hf_directory(files, "out", model.portable(), WeightType::kQ8_0);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(files.exists("out"));
}

// Wherever the power goes, there is nothing under the name or all of it.
TEST(HfDirectory, IsWholeOrNotThere) {
  const TinyModel model = tiny_model(
      {.layers = 1, .width = 8, .heads = 1, .kv_heads = 1, .head_dim = 4, .ffn = 8}, true);
  MemoryFileSystem reference;
  ASSERT_TRUE(write_hf_directory(reference, "out", model.portable(), WeightType::kF32).ok());
  int whole = 0, absent = 0;
  for (int64_t work = 0; work < reference.work_done() + 200; work += 97) {
    MemoryFileSystem files;
    files.cut_power_after(work);
    const Status status = write_hf_directory(files, "out", model.portable(), WeightType::kF32);
    files.restart(CrashKeeps::kNamesAndHalf);
    if (!files.exists("out")) {
      EXPECT_FALSE(status.ok());
      ++absent;
      continue;
    }
    ++whole;
    for (const std::string& name : names_in(reference, "out")) {
      ASSERT_EQ(files.read_file("out/" + name).value(), reference.read_file("out/" + name).value());
    }
  }
  EXPECT_GT(whole, 0);
  EXPECT_GT(absent, 10);
}

TEST(HfDirectory, AFullDiskLeavesNothing) {
  MemoryFileSystem files;
  files.fill_after(3000);
  const TinyModel model = tiny_model();
  const Status status = write_hf_directory(files, "out", model.portable(), WeightType::kF32);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_FALSE(files.exists("out"));
  EXPECT_FALSE(files.exists("out.partial"));
}

TEST(HfTokenizer, MergesMakeEveryPieceInTheOrderOfScores) {
  const TinyModel model = tiny_model();
  const auto pieces = portable_pieces(*model.tokenizer).value();
  const json tokenizer = json::parse(tokenizer_json(pieces));
  const json& vocabulary = tokenizer["model"]["vocab"];
  EXPECT_EQ(vocabulary.size(), pieces.size());
  float last = 1;
  std::set<std::string> made;
  for (const json& merge : tokenizer["model"]["merges"]) {
    const std::string text = merge[0].get<std::string>() + merge[1].get<std::string>();
    ASSERT_TRUE(vocabulary.contains(text)) << text;
    const float score = pieces[vocabulary[text].get<size_t>()].score;
    EXPECT_LE(score, last);
    last = score;
    made.insert(text);
  }
  for (size_t id = 259; id < pieces.size(); ++id) {
    const bool is_character = std::ranges::count_if(pieces[id].text, [](char byte) {
                                return (byte & 0xC0) != 0x80;
                              }) == 1;
    EXPECT_NE(is_character, made.contains(pieces[id].text)) << pieces[id].text;
  }
  EXPECT_GT(made.size(), 50u);
}

}  // namespace
}  // namespace rubato

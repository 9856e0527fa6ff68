// A GGUF file read back by a reader of its own, written from ggml's description alone.
#include "rubato/interchange/gguf_file.h"

#include <cmath>
#include <cstring>
#include <map>

#include "tests/interchange/tiny_model.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rubato/interchange/gguf_header.h"
#include "rubato/store/memory_file_system.h"

namespace rubato {
namespace {

struct Tensor {
  std::vector<uint64_t> extents;  // innermost first
  uint32_t type = 0;
  std::string_view bytes;
};

class File {
 public:
  explicit File(std::string bytes) : bytes_(std::move(bytes)) {
    EXPECT_EQ(text(4), "GGUF");
    EXPECT_EQ(number<uint32_t>(), 3u);
    const auto count = number<uint64_t>(), entries = number<uint64_t>();
    for (uint64_t i = 0; i < entries; ++i) {
      const std::string key = text(number<uint64_t>());
      EXPECT_FALSE(metadata.contains(key)) << key << " twice";
      metadata[key] = value(number<uint32_t>());
    }
    read_tensors(count);
  }

  std::map<std::string, std::vector<std::string>> metadata;  // numbers as text
  std::map<std::string, Tensor> tensors;

 private:
  void read_tensors(uint64_t count) {
    std::vector<std::pair<std::string, uint64_t>> offsets;
    for (uint64_t i = 0; i < count; ++i) {
      const std::string name = text(number<uint64_t>());
      Tensor& tensor = tensors[name];
      const auto dimensions = number<uint32_t>();
      for (uint32_t d = 0; d < dimensions; ++d) tensor.extents.push_back(number<uint64_t>());
      tensor.type = number<uint32_t>();
      offsets.emplace_back(name, number<uint64_t>());
    }
    const uint64_t data = (at_ + 31) / 32 * 32;
    uint64_t end = 0;
    for (const auto& [name, offset] : offsets) {
      Tensor& tensor = tensors[name];
      EXPECT_EQ(offset % 32, 0u);
      EXPECT_GE(offset, end) << name << " overlaps";
      uint64_t values = 1;
      for (const uint64_t extent : tensor.extents) values *= extent;
      const uint64_t size = tensor.type == 0   ? 4 * values
                            : tensor.type == 1 ? 2 * values
                                               : values / 32 * 34;
      tensor.bytes = std::string_view(bytes_).substr(data + offset, size);
      EXPECT_EQ(tensor.bytes.size(), size) << name << " is cut off";
      end = offset + size;
    }
    EXPECT_EQ(bytes_.size(), data + (end + 31) / 32 * 32);
  }
  template <class Number>
  Number number() {
    Number value;
    std::memcpy(&value, bytes_.data() + at_, sizeof value);
    at_ += sizeof value;
    return value;
  }
  std::string text(uint64_t size) {
    at_ += size;
    return bytes_.substr(at_ - size, size);
  }
  std::vector<std::string> value(uint32_t kind) {
    switch (kind) {
      case 4:
        return {cat(number<uint32_t>())};
      case 5:
        return {cat(number<int32_t>())};
      case 6:
        return {cat(number<float>())};
      case 7:
        return {number<uint8_t>() != 0 ? "true" : "false"};
      case 8:
        return {text(number<uint64_t>())};
      case 9: {
        std::vector<std::string> all;
        const auto inner = number<uint32_t>();
        const auto size = number<uint64_t>();
        for (uint64_t i = 0; i < size; ++i) all.push_back(value(inner).at(0));
        return all;
      }
      default:
        ADD_FAILURE() << "kind " << kind;
        return {};
    }
  }

  std::string bytes_;
  size_t at_ = 0;
};

File written(const TinyModel& model, WeightType type) {
  MemoryFileSystem files;
  const Status status = write_gguf(files, "out.gguf", model.portable(), type);
  EXPECT_TRUE(status.ok()) << status;
  return File(files.read_file("out.gguf").value());
}

std::vector<float> floats(std::string_view bytes) {
  std::vector<float> values(bytes.size() / 4);
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

TEST(GgufFile, SaysTheShape) {
  const File file = written(tiny_model(grouped_untied_shape()), WeightType::kF32);
  const std::pair<const char*, const char*> wanted[] = {
      {"general.architecture", "llama"},
      {"general.file_type", "0"},
      {"llama.embedding_length", "48"},
      {"llama.block_count", "2"},
      {"llama.attention.head_count", "4"},
      {"llama.attention.head_count_kv", "2"},
      {"llama.attention.key_length", "20"},
      {"llama.rope.dimension_count", "20"},
      {"llama.rope.freq_base", "5000"},
      {"llama.attention.layer_norm_rms_epsilon", "0.0001"},
      {"llama.context_length", "256"},
      {"tokenizer.ggml.add_space_prefix", "false"},
      {"tokenizer.ggml.add_bos_token", "true"},
  };
  for (const auto& [key, value] : wanted) {
    ASSERT_TRUE(file.metadata.contains(key)) << key;
    EXPECT_EQ(file.metadata.at(key).at(0), value) << key;
  }
  EXPECT_EQ(file.metadata.at("tokenizer.ggml.tokens").size(), 400u);
  EXPECT_EQ(file.metadata.at("tokenizer.ggml.token_type").at(1), "3");
  EXPECT_EQ(file.metadata.at("tokenizer.ggml.token_type").at(3), "6");
}

TEST(GgufFile, TensorsAreReversedInShapeAndNowhereElse) {
  const TinyModel model = tiny_model(grouped_untied_shape());
  const File file = written(model, WeightType::kF32);
  const Layout layout = model_layout(model.config);
  EXPECT_EQ(file.tensors.size(), layout.tensors().size());
  const TensorSpec& down = *layout.find("model.layers.1.mlp.down_proj.weight");
  const Tensor& got = file.tensors.at("blk.1.ffn_down.weight");
  EXPECT_THAT(got.extents, ::testing::ElementsAre(80, 48));
  EXPECT_EQ(floats(got.bytes), std::vector<float>(model.params.begin() + down.offset,
                                                  model.params.begin() + down.offset + down.size));
  EXPECT_TRUE(file.tensors.contains("output.weight"));
  EXPECT_FALSE(written(tiny_model(), WeightType::kF32).tensors.contains("output.weight"))
      << "a tied head is the embedding";
}

// llama.cpp turns rows 2i and 2i + 1 of a head together, we i and i + E/2.
TEST(GgufFile, RowsThatRopeTurnsStandSideBySide) {
  const TinyModel model = tiny_model(grouped_untied_shape());
  const File file = written(model, WeightType::kF32);
  const Layout layout = model_layout(model.config);
  const int64_t d = model.config.width, e = model.config.head_dim;
  for (const auto& [ours, theirs, heads] :
       {std::tuple("model.layers.1.self_attn.q_proj.weight", "blk.1.attn_q.weight", 4),
        std::tuple("model.layers.1.self_attn.k_proj.weight", "blk.1.attn_k.weight", 2)}) {
    const float* source = model.params.data() + layout.find(ours)->offset;
    const std::vector<float> values = floats(file.tensors.at(theirs).bytes);
    for (int64_t head = 0; head < heads; ++head) {
      for (int64_t i = 0; i < e / 2; ++i) {
        for (int64_t half = 0; half < 2; ++half) {
          const int64_t from = head * e + half * e / 2 + i, to = head * e + 2 * i + half;
          ASSERT_TRUE(std::equal(source + from * d, source + (from + 1) * d, &values[to * d]));
        }
      }
    }
  }
}

TEST(GgufFile, SmallTypesKeepNormsAndWhatHasNoWholeBlocks) {
  const File halves = written(tiny_model(grouped_untied_shape()), WeightType::kF16);
  EXPECT_EQ(halves.tensors.at("blk.0.attn_q.weight").type, 1u);
  EXPECT_EQ(halves.tensors.at("blk.0.attn_norm.weight").type, 0u);
  // Rows of 48 and 80 numbers are none of whole blocks.
  const File odd = written(tiny_model(grouped_untied_shape()), WeightType::kQ8_0);
  EXPECT_EQ(odd.tensors.at("blk.0.ffn_down.weight").type, 1u);
  const File even = written(tiny_model(), WeightType::kQ8_0);
  EXPECT_EQ(even.tensors.at("blk.0.ffn_down.weight").type, 8u);
  EXPECT_EQ(even.tensors.at("output_norm.weight").type, 0u);
}

TEST(GgufFile, IsWholeOrNotThere) {
  const TinyModel model = tiny_model(
      {.layers = 1, .width = 8, .heads = 1, .kv_heads = 1, .head_dim = 4, .ffn = 8}, true);
  MemoryFileSystem reference;
  ASSERT_TRUE(write_gguf(reference, "out.gguf", model.portable(), WeightType::kF32).ok());
  const std::string want = reference.read_file("out.gguf").value();
  int whole = 0, absent = 0;
  for (int64_t work = 0; work < reference.work_done() + 200; work += 59) {
    MemoryFileSystem files;
    files.cut_power_after(work);
    write_gguf(files, "out.gguf", model.portable(), WeightType::kF32).IgnoreError();
    files.restart(CrashKeeps::kNamesAndHalf);
    const bool there = files.exists("out.gguf");
    ASSERT_TRUE(!there || files.read_file("out.gguf").value() == want);
    ++(there ? whole : absent);
  }
  EXPECT_GT(whole, 0);
  EXPECT_GT(absent, 10);
}

TEST(GgufFile, ANumberBeyondHalfPrecisionNamesItsTensor) {
  TinyModel model = tiny_model();
  model.params[model_layout(model.config).find("model.layers.0.mlp.up_proj.weight")->offset] = 1e6f;
  MemoryFileSystem files;
  const Status status = write_gguf(files, "out.gguf", model.portable(), WeightType::kF16);
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("blk.0.ffn_up.weight: [export]"));
  EXPECT_FALSE(files.exists("out.gguf"));
  EXPECT_FALSE(files.exists("out.gguf.partial"));
}

}  // namespace
}  // namespace rubato

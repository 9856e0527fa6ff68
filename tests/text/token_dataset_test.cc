#include "rubato/text/token_dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "rubato/base/digest.h"
#include "rubato/store/memory_file_system.h"
#include "rubato/text/manifest.h"
#include "rubato/text/prepare.h"
#include "rubato/text/tokenizer.h"

namespace rubato {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;

/// Two shards of bytes and validation under /data, ready to be damaged.
class Dataset : public ::testing::Test {
 protected:
  void SetUp() override {
    for (int i = 0; i < 12; ++i) {
      const std::string source = i % 2 == 0 ? "/in/even" : "/in/odd";
      ASSERT_TRUE(files_.make_directories(source).ok());
      ASSERT_TRUE(files_.replace_file(cat(source, "/", 100 + i), cat("document ", i)).ok());
    }
    PrepareOptions options;
    options.inputs = {"/in/even", "/in/odd"};
    options.out_dir = "/data";
    options.split = "by-source";
    options.validation_fraction = 0.25;
    const auto summary = prepare_text(files_, options);
    ASSERT_TRUE(summary.ok()) << summary.status();
  }
  Status open() { return TokenDataset::open(files_, "/data").status(); }
  void expect_error(absl::StatusCode code, const std::string& words) {
    const Status status = open();
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(words));
    EXPECT_EQ(status.message().find('\n'), absl::string_view::npos);
  }
  std::string get(const std::string& name) { return files_.read_file("/data/" + name).value(); }
  void put(const std::string& name, std::string_view bytes) {
    ASSERT_TRUE(files_.replace_file("/data/" + name, bytes).ok());
  }
  /// Rewrites the manifest with one value changed.
  void change(const std::string& pointer, const Json& value) {
    Json json = Json::parse(get("manifest.json"));
    json[Json::json_pointer(pointer)] = value;
    put("manifest.json", json.dump());
  }
  MemoryFileSystem files_;
};

TEST_F(Dataset, ReadsWhatWasWritten) {
  const auto data = TokenDataset::open(files_, "/data").value();
  EXPECT_EQ(data->vocab_size(), 259);
  EXPECT_EQ(data->num_shards(), 2);
  EXPECT_THAT(data->shard_names(), ElementsAre("even", "odd"));
  EXPECT_EQ(data->directory(), "/data");
  const std::string raw = get("shard-001.tokens");
  ASSERT_EQ(static_cast<int64_t>(raw.size()), 2 * data->shard_tokens(ShardId(1)));
  std::vector<int32_t> tokens(5);
  data->read_shard(ShardId(1), 3, tokens);
  for (size_t i = 0; i < 5; ++i) {
    const auto* at = reinterpret_cast<const unsigned char*>(raw.data()) + 2 * (3 + i);
    EXPECT_EQ(tokens[i], at[0] + 256 * at[1]);
  }
  data->read_shard(ShardId(1), 0, std::span(tokens).first(1));
  EXPECT_EQ(tokens[0], Tokenizer::kBos);
  data->read_shard(ShardId(1), data->shard_tokens(ShardId(1)), std::span<int32_t>());
}

TEST_F(Dataset, TheDigestIsOfTheDataAlone) {
  const std::string digest = TokenDataset::open(files_, "/data").value()->digest();
  EXPECT_EQ(digest.size(), 32u);
  change("/shards/0/name", "another name");
  change("/options/seed", 99);
  EXPECT_EQ(TokenDataset::open(files_, "/data").value()->digest(), digest);
  const std::string shorter = get("shard-000.tokens").substr(2);
  put("shard-000.tokens", shorter);
  change("/shards/0/tokens", static_cast<int64_t>(shorter.size()) / 2);
  change("/shards/0/digest", digest_of(shorter));
  EXPECT_NE(TokenDataset::open(files_, "/data").value()->digest(), digest);
}

TEST_F(Dataset, ReadingOutOfRangeAborts) {
  const auto data = TokenDataset::open(files_, "/data").value();
  std::vector<int32_t> tokens(2);
  EXPECT_DEATH(data->read_shard(ShardId(0), data->shard_tokens(ShardId(0)) - 1, tokens),
               "tokens at");
  EXPECT_DEATH(data->read_shard(ShardId(0), -1, tokens), "tokens at");
  EXPECT_DEATH(data->read_shard(ShardId(2), 0, tokens), "shard 2 of 2");
  EXPECT_DEATH(data->read_validation(data->validation_tokens(), tokens), "tokens at");
}

TEST_F(Dataset, MissingIsNotFound) {
  EXPECT_EQ(TokenDataset::open(files_, "/nowhere").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(TokenDataset::open(files_, "/in").status().code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(files_.remove_file("/data/shard-001.tokens").ok());
  expect_error(absl::StatusCode::kNotFound, "shard-001.tokens");
}

TEST_F(Dataset, DamageOfAnyFileIsNamed) {
  for (const std::string name :
       {"shard-000.tokens", "shard-001.tokens", "validation.tokens", "tokenizer.model"}) {
    const std::string whole = get(name);
    put(name, whole.substr(0, whole.size() - 1));
    expect_error(absl::StatusCode::kDataLoss, name);
    put(name, whole + "x");
    expect_error(absl::StatusCode::kDataLoss, name);
    put(name, whole);
    files_.corrupt("/data/" + name, static_cast<int64_t>(whole.size()) / 2, 1);
    expect_error(absl::StatusCode::kDataLoss, name);
    put(name, whole);
    EXPECT_TRUE(open().ok());
  }
  const std::string manifest = get("manifest.json");
  put("manifest.json", manifest.substr(0, manifest.size() / 2));
  expect_error(absl::StatusCode::kDataLoss, "manifest.json");
}

TEST_F(Dataset, AnUnknownVersionIsRefusedByName) {
  change("/format_version", 2);
  expect_error(absl::StatusCode::kFailedPrecondition, "got rubato-token-shards version 2, want 1");
}

TEST_F(Dataset, ManifestsThatLieAreRefused) {
  const std::string good = get("manifest.json");
  const std::vector<std::pair<std::string, Json>> lies = {{"/format", "something else"},
                                                          {"/vocab_size", 2},
                                                          {"/vocab_size", "259"},
                                                          {"/token_bytes", 4},
                                                          {"/shards", Json::array()},
                                                          {"/shards/0/file", "../in/even/100"},
                                                          {"/shards/0/file", "/etc/passwd"},
                                                          {"/shards/0/tokens", -1},
                                                          {"/shards/0/tokens", INT64_MAX},
                                                          {"/shards/0/tokens", 1.5},
                                                          {"/shards/0/tokens", UINT64_MAX},
                                                          {"/validation", nullptr},
                                                          {"/options/sources", {1}},
                                                          {"/options/seed", -1},
                                                          {"/format_version", "1"},
                                                          {"/tokenizer/file", "other.model"}};
  for (const auto& [pointer, value] : lies) {
    change(pointer, value);
    expect_error(absl::StatusCode::kDataLoss, "manifest.json");
    put("manifest.json", good);
  }
  change("/vocab_size", 300);
  expect_error(absl::StatusCode::kDataLoss, "got 259 pieces, want 300");
}

TEST_F(Dataset, TokensOutsideTheVocabularyAreRefusedWhateverTheDigest) {
  std::string bytes = get("shard-000.tokens");
  bytes[7] = 2;  // the high byte of the fourth token: 512 and more
  put("shard-000.tokens", bytes);
  change("/shards/0/digest", digest_of(bytes));
  expect_error(absl::StatusCode::kDataLoss, "want tokens below 259");
}

TEST(Manifest, SurvivesItsJson) {
  TextManifest manifest;
  manifest.vocab_size = 70000;
  manifest.tokenizer_digest = "t";
  manifest.shards = {{"a", "shard-000.tokens", "d", 5, 2, 17}};
  manifest.validation = {"validation", "validation.tokens", "v", 1, 1, 3};
  manifest.split = "iid";
  manifest.vocab = 70000;
  manifest.validation_fraction = 0.1;
  manifest.seed = UINT64_MAX;
  manifest.sources = {"x", "y \"quoted\""};
  manifest.text_digest = "z";
  const std::string json = to_json(manifest);
  const auto parsed = parse_text_manifest("m", json);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(to_json(*parsed), json);
  EXPECT_EQ(parsed->token_bytes(), 4);
  EXPECT_EQ(parsed->data_digest(), manifest.data_digest());
  EXPECT_EQ(parsed->sources, manifest.sources);
  EXPECT_EQ(parsed->seed, UINT64_MAX);
}

}  // namespace
}  // namespace rubato

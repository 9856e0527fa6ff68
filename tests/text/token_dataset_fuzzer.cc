// libFuzzer over what TokenDataset::open reads from disk: the first byte of the input says whether
// the rest is a manifest or the bytes of a shard whose manifest vouches for them. Whatever it is,
// opening ends in a Status, and what opens can be read to the end without a token out of range.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "rubato/base/digest.h"
#include "rubato/store/memory_file_system.h"
#include "rubato/text/byte_vocabulary.h"
#include "rubato/text/manifest.h"
#include "rubato/text/token_dataset.h"

namespace {

using namespace rubato;

TextManifest manifest_of(const std::string& shard) {
  TextManifest manifest;
  manifest.vocab_size = 259;
  manifest.tokenizer_digest = digest_of(byte_vocabulary_model());
  const auto tokens = static_cast<int64_t>(shard.size() / 2);
  manifest.shards = {{"000", "shard-000.tokens", digest_of(shard), tokens, 1, tokens}};
  manifest.validation = {"validation", "validation.tokens", digest_of(""), 0, 0, 0};
  manifest.split = "iid";
  return manifest;
}

void put(MemoryFileSystem& files, std::string_view name, std::string_view bytes) {
  RUBATO_CHECK(files.replace_file(join_path("/data", name), bytes).ok(), "a file in memory");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  MemoryFileSystem files;
  RUBATO_CHECK(files.make_directories("/data").ok(), "a directory in memory");
  const bool is_manifest = data[0] % 2 == 0;
  const std::string shard = is_manifest ? "" : rest;
  put(files, kTokenizerFile, byte_vocabulary_model());
  put(files, "shard-000.tokens", shard);
  put(files, "validation.tokens", "");
  put(files, kManifestFile, is_manifest ? rest : to_json(manifest_of(shard)));

  const auto dataset = TokenDataset::open(files, "/data");
  if (!dataset.ok()) return 0;
  for (int64_t i = 0; i < (*dataset)->num_shards(); ++i) {
    std::vector<int32_t> tokens(static_cast<size_t>((*dataset)->shard_tokens(ShardId(i))));
    (*dataset)->read_shard(ShardId(i), 0, tokens);
    for (const int32_t token : tokens) {
      RUBATO_CHECK(token >= 0 && token < (*dataset)->vocab_size(), "token ", token);
    }
  }
  return 0;
}

// manifest.json of prepared text: what lies in the directory, with sizes and digests. It is written
// last, so a directory that has one is complete. The format is in docs/formats.md, "Token shards".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rubato/base/status.h"

namespace rubato {

inline constexpr std::string_view kManifestFile = "manifest.json";
inline constexpr std::string_view kTokenizerFile = "tokenizer.model";
inline constexpr int64_t kTokenShardsVersion = 1;

/// A file of tokens, and the text it was made of.
struct ShardEntry {
  std::string name;  // of the source, or a number
  std::string file;
  std::string digest;
  int64_t tokens = 0;
  int64_t documents = 0;
  int64_t text_bytes = 0;
};

struct TextManifest {
  int64_t vocab_size = 0;
  std::string tokenizer_digest;
  std::vector<ShardEntry> shards;
  ShardEntry validation;

  // What prepare was asked for and read; the same again makes the same files.
  std::string split;             // "iid" or "by-source"
  std::optional<int64_t> vocab;  // absent: bytes
  double validation_fraction = 0;
  uint64_t seed = 0;
  std::vector<std::string> sources;
  std::string text_digest;  // of all documents in order

  /// [bytes] of a token in shard files: 2 when the vocabulary allows, else 4. Little-endian.
  int64_t token_bytes() const { return vocab_size <= 65536 ? 2 : 4; }
  /// Digest over tokenizer and shards: what a recipe's data digest is.
  std::string data_digest() const;
};

/// The file's text, ending in a newline.
std::string to_json(const TextManifest& manifest);
/// `path` is for messages. DataLoss when it is no such manifest, FailedPrecondition when its
/// version is unknown.
StatusOr<TextManifest> parse_text_manifest(std::string_view path, std::string_view json);

}  // namespace rubato

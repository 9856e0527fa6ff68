// Prepared text: token shards for training, one for validation, mapped from disk. Tokens of a shard
// are one long stream; a sequence of T is tokens [index*T, index*T + T + 1): inputs and, one
// further, targets. Each document is BOS and its tokens; nothing marks its end but the next BOS.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "rubato/base/ids.h"
#include "rubato/base/status.h"

namespace rubato {

class FileSystem;
class Tokenizer;

class TokenDataset {
 public:
  /// Opens what `rubato prepare` wrote. Checks format version, sizes, digests and that every token
  /// is below vocab_size(). DataLoss names the file that is truncated or corrupt, NotFound a
  /// missing one, FailedPrecondition a format of another version. Nobody may shorten the files
  /// meanwhile.
  static StatusOr<std::unique_ptr<TokenDataset>> open(const std::string& directory);
  static StatusOr<std::unique_ptr<TokenDataset>> open(FileSystem& files,
                                                      const std::string& directory);
  ~TokenDataset();

  int64_t vocab_size() const;
  int64_t num_shards() const;
  std::vector<std::string> shard_names() const;
  int64_t shard_tokens(ShardId shard) const;
  /// 0 when the text was prepared without validation.
  int64_t validation_tokens() const;
  /// Bytes of text that the validation tokens decode to; for bits per byte.
  int64_t validation_bytes() const;
  /// Tokens [begin, begin + out.size()) of a shard; aborts when out of range.
  void read_shard(ShardId shard, int64_t begin, std::span<int32_t> out) const;
  void read_validation(int64_t begin, std::span<int32_t> out) const;
  /// Digest over tokenizer and shards: what a recipe's data digest is.
  const std::string& digest() const;
  /// Digest of the tokenizer alone.
  const std::string& vocabulary_digest() const;
  const std::string& directory() const;
  /// The vocabulary that the tokens are of.
  const Tokenizer& tokenizer() const;

 private:
  struct State;
  explicit TokenDataset(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace rubato

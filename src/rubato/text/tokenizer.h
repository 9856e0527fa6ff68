// Text to tokens and back. A tokenizer is a sentencepiece BPE model with byte fallback, trained
// with the flags in tokenizer.cc, or the built-in vocabulary of bytes, which is the same format.
//
// decode(encode(x)) == x for every string of bytes, UTF-8 or not: nothing is normalised, no dummy
// prefix is added, whitespace is kept. Two things never reach sentencepiece, which would change
// them: U+2581 (its mark for a space) and bytes that are not UTF-8; both become byte pieces.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "rubato/base/status.h"
#include "rubato/text/sentencepiece_library.h"

namespace rubato {

class Tokenizer {
 public:
  static constexpr int32_t kUnknown = 0;
  static constexpr int32_t kBos = 1;
  static constexpr int32_t kEos = 2;

  /// The vocabulary of bytes: 259 pieces, byte b is token 3 + b.
  static StatusOr<std::unique_ptr<Tokenizer>> bytes();
  /// BPE of exactly `vocab` pieces over `sentences` (a few kB each; newlines inside are welcome);
  /// the same sentences give the same model. InvalidArgument when the text is too small for so many
  /// pieces or has too many characters for so few.
  static StatusOr<std::unique_ptr<Tokenizer>> train(const std::vector<std::string>& sentences,
                                                    int64_t vocab);
  /// From the bytes of a model file. InvalidArgument when it is no such model or does not keep text
  /// as it is (a dummy prefix, normalisation, no byte pieces).
  static StatusOr<std::unique_ptr<Tokenizer>> from_model(std::string model);
  ~Tokenizer();

  int64_t vocab_size() const { return static_cast<int64_t>(bytes_of_.size()); }
  /// The model's file.
  const std::string& model() const { return model_; }
  /// What the model says of each token.
  const std::vector<SentencepieceModel::Piece>& pieces() const { return pieces_->pieces(); }

  /// Appends the tokens of `text`; neither BOS nor EOS. Safe from several threads.
  Status encode(std::string_view text, std::vector<int32_t>& out) const;
  /// The text of `tokens`, each below vocab_size(); control tokens are nothing. Tokens that a model
  /// made up may decode to bytes that are not UTF-8.
  std::string decode(std::span<const int32_t> tokens) const;
  /// What one token decodes to; "" for BOS and EOS.
  const std::string& bytes_of(int32_t token) const;

 private:
  friend class CachedEncoder;
  Tokenizer(std::string model, std::unique_ptr<SentencepieceModel> pieces);
  Status check_usable() const;
  Status encode_run(std::string_view text, std::vector<int32_t>& out) const;
  /// The first place behind `from` where `text` can be cut; its end when there is none.
  size_t next_cut(std::string_view text, size_t from) const;

  std::string model_;
  std::unique_ptr<SentencepieceModel> pieces_;
  std::vector<std::string> bytes_of_;
  std::array<int32_t, 256> byte_token_{};
  bool only_bytes_ = true;  // no piece but bytes and specials
  /// Bit 256 * a + b: some piece holds byte b behind byte a. Where that is not so, text can be cut
  /// without changing a token, since no merge ever reaches across.
  std::bitset<65536> joined_;
};

/// Encodes a lot of text: the same tokens as Tokenizer::encode, several times faster, because the
/// words it has seen are remembered (a bounded number). One thread at a time.
class CachedEncoder {
 public:
  /// `tokenizer` outlives the encoder.
  explicit CachedEncoder(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  Status encode(std::string_view text, std::vector<int32_t>& out);

 private:
  const Tokenizer& tokenizer_;
  std::unordered_map<std::string, std::vector<int32_t>> words_;
  std::string word_;
};

}  // namespace rubato

#include "rubato/text/tokenizer.h"

#include "rubato/text/byte_vocabulary.h"
#include "rubato/text/model_fields.h"
#include "rubato/text/sentencepiece_loader.h"
#include "rubato/text/utf8.h"

namespace rubato {

namespace {

/// How sentencepiece writes a space inside pieces.
constexpr std::string_view kSpaceMark = "\xE2\x96\x81";
using Kind = SentencepieceModel::Kind;

/// "<0x41>" -> "A".
std::string byte_of_piece(const std::string& piece) {
  const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'A' + 10; };
  return std::string(1, static_cast<char>(digit(piece[3]) * 16 + digit(piece[4])));
}

size_t pair_bit(char a, char b) {
  return static_cast<size_t>(static_cast<uint8_t>(a)) * 256 + static_cast<uint8_t>(b);
}

std::string with_spaces(std::string_view piece) {
  std::string text;
  for (size_t at; (at = piece.find(kSpaceMark)) != piece.npos;
       piece.remove_prefix(at + kSpaceMark.size())) {
    text.append(piece.substr(0, at)).push_back(' ');
  }
  return text.append(piece);
}

}  // namespace

Tokenizer::Tokenizer(std::string model, std::unique_ptr<SentencepieceModel> pieces)
    : model_(std::move(model)), pieces_(std::move(pieces)) {
  byte_token_.fill(-1);
  for (const auto& piece : pieces_->pieces()) {
    std::string text;
    if (piece.kind == Kind::kByte) {
      text = byte_of_piece(piece.text);
      byte_token_[static_cast<uint8_t>(text[0])] = static_cast<int32_t>(bytes_of_.size());
    } else if (piece.kind == Kind::kUnknown) {
      text = "\xEF\xBF\xBD";  // never encoded; U+FFFD shows where a model made one up
    } else if (piece.kind != Kind::kControl) {
      text = with_spaces(piece.text);
      only_bytes_ = false;
      for (size_t i = 1; i < text.size(); ++i) joined_.set(pair_bit(text[i - 1], text[i]));
    }
    bytes_of_.push_back(std::move(text));
  }
}

Tokenizer::~Tokenizer() = default;

StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::bytes() {
  return from_model(byte_vocabulary_model());
}

StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::train(const std::vector<std::string>& sentences,
                                                      int64_t vocab) {
  const std::vector<std::pair<std::string, std::string>> flags = {
      {"model_type", "bpe"},
      {"vocab_size", cat(vocab)},
      {"byte_fallback", "true"},
      {"normalization_rule_name", "identity"},
      {"remove_extra_whitespaces", "false"},
      {"add_dummy_prefix", "false"},
      {"unk_id", "0"},
      {"bos_id", "1"},
      {"eos_id", "2"},
      {"pad_id", "-1"},
      {"num_threads", "1"},
      // The caller cuts sentences; none is to be dropped for its length.
      {"max_sentence_length", "1000000000"},
  };
  RUBATO_ASSIGN_OR_RETURN(const SentencepieceLibrary* library, sentencepiece_library());
  std::string error;
  std::string model = library->train(flags, sentences, error);
  if (model.empty()) {
    return absl::InvalidArgumentError(cat("[tokenizer] got no model of ", vocab,
                                          " pieces, want one: sentencepiece says: ", error));
  }
  return from_model(std::move(model));
}

StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::from_model(std::string model) {
  if (!is_plain_bpe(model)) {
    return absl::InvalidArgumentError(
        cat("[tokenizer] got ", model.size(),
            " bytes that are another kind of file, no BPE, or a model that changes text by a table "
            "of characters, want a sentencepiece model of type bpe with identity normalisation"));
  }
  RUBATO_ASSIGN_OR_RETURN(const SentencepieceLibrary* library, sentencepiece_library());
  std::string error;
  auto pieces = library->load(model, error);
  if (pieces == nullptr) {
    return absl::InvalidArgumentError(
        cat("[tokenizer] got ", model.size(),
            " bytes, want a sentencepiece model; the library says: ", error));
  }
  std::unique_ptr<Tokenizer> tokenizer(new Tokenizer(std::move(model), std::move(pieces)));
  RUBATO_RETURN_IF_ERROR(tokenizer->check_usable());
  return tokenizer;
}

Status Tokenizer::check_usable() const {
  const auto& pieces = pieces_->pieces();
  if (pieces.size() < 3 || pieces[kUnknown].kind != Kind::kUnknown ||
      pieces[kBos].kind != Kind::kControl || pieces[kEos].kind != Kind::kControl) {
    return absl::InvalidArgumentError(
        "[tokenizer] got other special pieces, want unk, bos, eos as 0, 1, 2");
  }
  // The library gives such a piece out for its text and then loses the text.
  for (size_t id = kEos + 1; id < pieces.size(); ++id) {
    if (pieces[id].kind == Kind::kNormal || pieces[id].kind == Kind::kByte) continue;
    return absl::InvalidArgumentError(cat("[tokenizer] got a special or unused piece ", id,
                                          ", want text and bytes behind unk, bos and eos"));
  }
  for (const int32_t token : byte_token_) {
    if (token < 0) {
      return absl::InvalidArgumentError(
          "[tokenizer] got no piece for some byte, want a model trained with byte_fallback");
    }
  }
  // The settings are not readable through the library, their effect is.
  const std::string probe = " A  b\n\n\tc\xEF\xAC\x81 \xC2\xBD  ";
  std::vector<int32_t> tokens;
  RUBATO_RETURN_IF_ERROR(encode(probe, tokens));
  if (decode(tokens) != probe) {
    return absl::InvalidArgumentError(
        "[tokenizer] got a model that changes text, want identity normalisation, whitespace kept "
        "and no dummy prefix");
  }
  return absl::OkStatus();
}

Status Tokenizer::encode(std::string_view text, std::vector<int32_t>& out) const {
  if (only_bytes_) {
    for (const char c : text) out.push_back(byte_token_[static_cast<uint8_t>(c)]);
    return absl::OkStatus();
  }
  const auto put_bytes = [&](std::string_view bytes) {
    for (const char c : bytes) out.push_back(byte_token_[static_cast<uint8_t>(c)]);
  };
  while (!text.empty()) {
    const size_t valid = valid_utf8_prefix(text);
    const size_t mark = std::min(valid, text.substr(0, valid).find(kSpaceMark));
    RUBATO_RETURN_IF_ERROR(encode_run(text.substr(0, mark), out));
    const size_t other = mark < valid ? kSpaceMark.size() : size_t{valid < text.size()};
    put_bytes(text.substr(mark, other));
    text.remove_prefix(mark + other);
  }
  return absl::OkStatus();
}

Status Tokenizer::encode_run(std::string_view text, std::vector<int32_t>& out) const {
  // The library's memory is some hundred bytes a character, so long text goes in parts.
  constexpr size_t kPart = 16384;
  std::vector<int> tokens;
  std::string error;
  while (!text.empty()) {
    size_t part = text.size();
    if (part > kPart) part = next_cut(text, kPart);
    if (!pieces_->encode(text.substr(0, part), tokens, error)) {
      return absl::InternalError(cat("[tokenizer] sentencepiece says: ", error));
    }
    out.insert(out.end(), tokens.begin(), tokens.end());
    text.remove_prefix(part);
  }
  return absl::OkStatus();
}

size_t Tokenizer::next_cut(std::string_view text, size_t from) const {
  for (size_t i = from + 1; i < text.size(); ++i) {
    const bool within_character = (static_cast<uint8_t>(text[i]) & 0xC0) == 0x80;
    if (!within_character && !joined_.test(pair_bit(text[i - 1], text[i]))) return i;
  }
  return text.size();
}

std::string Tokenizer::decode(std::span<const int32_t> tokens) const {
  std::string text;
  for (const int32_t token : tokens) text += bytes_of(token);
  return text;
}

const std::string& Tokenizer::bytes_of(int32_t token) const {
  RUBATO_CHECK(token >= 0 && token < vocab_size(), "token ", token, " of ", vocab_size());
  return bytes_of_[static_cast<size_t>(token)];
}

Status CachedEncoder::encode(std::string_view text, std::vector<int32_t>& out) {
  if (tokenizer_.only_bytes_) return tokenizer_.encode(text, out);
  constexpr size_t kWordBytesMax = 64;
  constexpr size_t kWordsMax = 1 << 18;
  std::vector<int32_t> tokens;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, tokenizer_.next_cut(text, 0));
    text.remove_prefix(word.size());
    word_.assign(word);
    const auto known = words_.find(word_);
    if (known != words_.end()) {
      out.insert(out.end(), known->second.begin(), known->second.end());
      continue;
    }
    tokens.clear();
    RUBATO_RETURN_IF_ERROR(tokenizer_.encode(word, tokens));
    out.insert(out.end(), tokens.begin(), tokens.end());
    if (words_.size() >= kWordsMax) words_.clear();
    if (word.size() <= kWordBytesMax) words_.emplace(word_, tokens);
  }
  return absl::OkStatus();
}

}  // namespace rubato

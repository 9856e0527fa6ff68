// Debian does not ship sentencepiece's protobuf header, so the few fields that matter are written
// by hand. Source of the field numbers: sentencepiece's src/sentencepiece_model.proto.
#include "rubato/text/byte_vocabulary.h"

#include <bit>
#include <cstdint>

namespace rubato {

namespace {

// Protobuf's wire format: a tag is field << 3 | kind (0 varint, 2 length-delimited, 5 fixed 32).
void put_varint(std::string& out, uint64_t value) {
  for (; value >= 128; value >>= 7) out.push_back(static_cast<char>((value & 127) | 128));
  out.push_back(static_cast<char>(value));
}

void put_integer(std::string& out, uint32_t field, uint64_t value) {
  put_varint(out, field << 3);
  put_varint(out, value);
}

void put_bytes(std::string& out, uint32_t field, const std::string& value) {
  put_varint(out, field << 3 | 2);
  put_varint(out, value.size());
  out += value;
}

void put_float(std::string& out, uint32_t field, float value) {
  put_varint(out, field << 3 | 5);
  const auto bits = std::bit_cast<uint32_t>(value);
  for (int shift = 0; shift < 32; shift += 8) out.push_back(static_cast<char>(bits >> shift));
}

// ModelProto.SentencePiece.Type
constexpr uint64_t kUnknown = 2, kControl = 3, kByte = 6;

void put_piece(std::string& model, const std::string& text, uint64_t type) {
  std::string piece;
  put_bytes(piece, 1, text);
  put_float(piece, 2, 0.0f);
  put_integer(piece, 3, type);
  put_bytes(model, 1, piece);
}

}  // namespace

std::string byte_vocabulary_model() {
  std::string model;
  put_piece(model, "<unk>", kUnknown);
  put_piece(model, "<s>", kControl);
  put_piece(model, "</s>", kControl);
  constexpr char kHex[] = "0123456789ABCDEF";
  for (int b = 0; b < 256; ++b) {
    put_piece(model, std::string("<0x") + kHex[b >> 4] + kHex[b & 15] + ">", kByte);
  }
  std::string trainer;
  put_integer(trainer, 3, 2);              // model_type BPE
  put_integer(trainer, 4, 259);            // vocab_size
  put_integer(trainer, 35, 1);             // byte_fallback
  put_integer(trainer, 40, 0);             // unk_id
  put_integer(trainer, 41, 1);             // bos_id
  put_integer(trainer, 42, 2);             // eos_id
  put_integer(trainer, 43, ~uint64_t{0});  // pad_id -1: none
  put_bytes(model, 2, trainer);
  std::string normalizer;
  put_bytes(normalizer, 1, "identity");
  put_integer(normalizer, 3, 0);  // add_dummy_prefix
  put_integer(normalizer, 4, 0);  // remove_extra_whitespaces
  put_integer(normalizer, 5, 0);  // escape_whitespaces
  put_bytes(model, 3, normalizer);
  return model;
}

}  // namespace rubato

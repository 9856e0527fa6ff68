// Protobuf's wire format, as far as it takes to step over fields.
// Source of the field numbers: sentencepiece's src/sentencepiece_model.proto.
#include "rubato/text/model_fields.h"

#include <cstdint>
#include <optional>

namespace rubato {
namespace {

constexpr uint64_t kNormalizer = 3, kDenormalizer = 5;  // of the model
constexpr uint64_t kCharacterTable = 2;                 // of both
constexpr uint64_t kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5;

std::optional<uint64_t> take_varint(std::string_view& text) {
  uint64_t value = 0;
  for (size_t i = 0; i < text.size() && i < 10; ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    value |= uint64_t{byte & 127u} << (7 * i);
    if (byte >= 128) continue;
    text.remove_prefix(i + 1);
    return value;
  }
  return std::nullopt;
}

/// Calls `visit(field, bytes)` for every field that holds bytes; false when it does, or when the
/// text is no sequence of fields. Groups, which no model has, are none.
template <class Visit>
bool every_bytes_field(std::string_view text, Visit visit) {
  while (!text.empty()) {
    const auto tag = take_varint(text);
    if (!tag || *tag > UINT32_MAX) return false;
    uint64_t size = 0;
    switch (*tag & 7) {
      case kVarint:
        if (!take_varint(text)) return false;
        break;
      case kFixed64:
        size = 8;
        break;
      case kFixed32:
        size = 4;
        break;
      case kBytes: {
        const auto length = take_varint(text);
        if (!length || *length > text.size()) return false;
        if (!visit(*tag >> 3, text.substr(0, *length))) return false;
        size = *length;
        break;
      }
      default:
        return false;
    }
    if (size > text.size()) return false;
    text.remove_prefix(size);
  }
  return true;
}

}  // namespace

bool is_without_rewriting(std::string_view model) {
  return every_bytes_field(model, [](uint64_t field, std::string_view bytes) {
    if (field != kNormalizer && field != kDenormalizer) return true;
    return every_bytes_field(bytes, [](uint64_t inner, std::string_view table) {
      return inner != kCharacterTable || table.empty();
    });
  });
}

}  // namespace rubato

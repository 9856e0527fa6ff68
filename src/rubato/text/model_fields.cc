// Protobuf's wire format, as far as it takes to step over fields.
// Source of the field numbers: sentencepiece's src/sentencepiece_model.proto.
#include "rubato/text/model_fields.h"

#include <cstdint>
#include <optional>

namespace rubato {
namespace {

constexpr uint64_t kTrainer = 2, kNormalizer = 3, kDenormalizer = 5;  // of the model
constexpr uint64_t kModelType = 3;                                    // of the trainer
constexpr uint64_t kCharacterTable = 2;                               // of either normalizer
constexpr uint64_t kBpe = 2;                                          // a model type
constexpr uint64_t kDummyPrefix = 3;                                  // of the normalizer
enum Wire : uint64_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

struct Field {
  uint64_t number = 0, wire = 0;
  uint64_t value = 0;      // of a varint
  std::string_view bytes;  // of bytes
};

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

/// The next field, stepped over; nothing when there is none. Groups, which no model has, are none.
std::optional<Field> take_field(std::string_view& text) {
  const auto tag = take_varint(text);
  if (!tag || *tag > UINT32_MAX) return std::nullopt;
  Field field{*tag >> 3, *tag & 7, 0, {}};
  uint64_t size = 0;
  if (field.wire == kVarint || field.wire == kBytes) {
    const auto value = take_varint(text);
    if (!value) return std::nullopt;
    field.value = *value;
    if (field.wire == kBytes) size = *value;
  } else if (field.wire == kFixed64 || field.wire == kFixed32) {
    size = field.wire == kFixed64 ? 8 : 4;
  } else {
    return std::nullopt;
  }
  if (size > text.size()) return std::nullopt;
  field.bytes = text.substr(0, size);
  text.remove_prefix(size);
  return field;
}

/// False when `holds` is for some field, or when the text is no sequence of fields.
template <class Predicate>
bool every_field(std::string_view text, Predicate holds) {
  while (!text.empty()) {
    const auto field = take_field(text);
    if (!field || !holds(*field)) return false;
  }
  return true;
}

void put_varint(std::string& out, uint64_t value) {
  for (; value >= 128; value >>= 7) out.push_back(static_cast<char>((value & 127) | 128));
  out.push_back(static_cast<char>(value));
}

}  // namespace

bool is_plain_bpe(std::string_view model) {
  bool is_bpe = false;  // what is not said is another type
  const auto trains_bpe = [&](const Field& field) {
    if (field.number != kModelType || field.wire != kVarint) return true;
    is_bpe = field.value == kBpe;
    return is_bpe;
  };
  const auto has_no_table = [](const Field& field) {
    return field.number != kCharacterTable || field.bytes.empty();
  };
  const bool plain = every_field(model, [&](const Field& part) {
    if (part.wire != kBytes) return true;
    if (part.number == kTrainer) return every_field(part.bytes, trains_bpe);
    if (part.number == kNormalizer || part.number == kDenormalizer) {
      return every_field(part.bytes, has_no_table);
    }
    return true;
  });
  return plain && is_bpe;
}

std::string without_dummy_prefix(std::string_view model) {
  std::string out;
  bool has_prefix = true;  // what a normalizer has when it does not say
  bool has_normalizer = false;
  for (std::string_view rest = model; !rest.empty();) {
    const std::string_view before = rest;
    const auto part = take_field(rest);
    if (!part) return std::string(model);
    if (part->number != kNormalizer || part->wire != kBytes) {
      out += before.substr(0, before.size() - rest.size());
      continue;
    }
    has_normalizer = true;
    std::string normalizer;
    for (std::string_view fields = part->bytes; !fields.empty();) {
      const std::string_view field_begin = fields;
      const auto field = take_field(fields);
      if (!field) return std::string(model);
      if (field->number == kDummyPrefix && field->wire == kVarint) {
        has_prefix = field->value != 0;
      } else {
        normalizer += field_begin.substr(0, field_begin.size() - fields.size());
      }
    }
    normalizer += {kDummyPrefix << 3 | kVarint, 0};
    put_varint(out, kNormalizer << 3 | kBytes);
    put_varint(out, normalizer.size());
    out += normalizer;
  }
  return has_normalizer && has_prefix ? out : std::string(model);
}

}  // namespace rubato

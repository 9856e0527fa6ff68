#include "rubato/interchange/gguf_header.h"

namespace rubato {
namespace {

constexpr uint32_t kVersion = 3;

// Source: enum ggml_type.
uint32_t ggml_type(WeightType type) {
  return type == WeightType::kF32 ? 0 : type == WeightType::kF16 ? 1 : 8;
}

template <class Number>
void put(std::string& out, Number value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void put_text(std::string& out, std::string_view text) {
  put(out, static_cast<uint64_t>(text.size()));
  out += text;
}

int64_t aligned(int64_t bytes) {
  return (bytes + kGgufAlignment - 1) / kGgufAlignment * kGgufAlignment;
}

}  // namespace

// Source: enum gguf_type.
enum class GgufHeader::Kind : uint32_t {
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kText = 8,
  kArray = 9
};

int64_t GgufTensor::bytes() const {
  int64_t values = 1;
  for (const int64_t extent : shape) values *= extent;
  return weight_bytes(type, values);
}

void take_offsets(std::span<GgufTensor> tensors) {
  int64_t offset = 0;
  for (GgufTensor& tensor : tensors) {
    tensor.offset = offset;
    offset = aligned(offset + tensor.bytes());
  }
}

void GgufHeader::begin(std::string_view key, Kind kind) {
  ++entries_;
  put_text(metadata_, key);
  put(metadata_, static_cast<uint32_t>(kind));
}

void GgufHeader::begin_array(std::string_view key, Kind kind, size_t size) {
  begin(key, Kind::kArray);
  put(metadata_, static_cast<uint32_t>(kind));
  put(metadata_, static_cast<uint64_t>(size));
}

void GgufHeader::add(std::string_view key, uint32_t value) {
  begin(key, Kind::kUint32);
  put(metadata_, value);
}

void GgufHeader::add(std::string_view key, float value) {
  begin(key, Kind::kFloat32);
  put(metadata_, value);
}

void GgufHeader::add(std::string_view key, bool value) {
  begin(key, Kind::kBool);
  put(metadata_, static_cast<uint8_t>(value));
}

void GgufHeader::add(std::string_view key, std::string_view value) {
  begin(key, Kind::kText);
  put_text(metadata_, value);
}

void GgufHeader::add(std::string_view key, std::span<const std::string> values) {
  begin_array(key, Kind::kText, values.size());
  for (const std::string& value : values) put_text(metadata_, value);
}

void GgufHeader::add(std::string_view key, std::span<const float> values) {
  begin_array(key, Kind::kFloat32, values.size());
  for (const float value : values) put(metadata_, value);
}

void GgufHeader::add(std::string_view key, std::span<const int32_t> values) {
  begin_array(key, Kind::kInt32, values.size());
  for (const int32_t value : values) put(metadata_, value);
}

std::string GgufHeader::encode(std::span<const GgufTensor> tensors) const {
  std::string out = "GGUF";
  put(out, kVersion);
  put(out, static_cast<uint64_t>(tensors.size()));
  put(out, entries_);
  out += metadata_;
  for (const GgufTensor& tensor : tensors) {
    put_text(out, tensor.name);
    put(out, static_cast<uint32_t>(tensor.shape.size()));
    for (size_t i = tensor.shape.size(); i-- > 0;) put(out, static_cast<uint64_t>(tensor.shape[i]));
    put(out, ggml_type(tensor.type));
    put(out, static_cast<uint64_t>(tensor.offset));
  }
  out.resize(static_cast<size_t>(aligned(static_cast<int64_t>(out.size()))));
  return out;
}

}  // namespace rubato

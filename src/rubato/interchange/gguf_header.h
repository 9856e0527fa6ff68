// The head of a GGUF file, version 3: metadata and the list of tensors, with which llama.cpp finds
// everything else. Made in memory; the tensors' data follow it, each from a multiple of
// kGgufAlignment on.
// Source: ggml's docs/gguf.md; docs/exports.md says what of it this project writes.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rubato/interchange/weights.h"

namespace rubato {

inline constexpr int64_t kGgufAlignment = 32;  // [bytes]

struct GgufTensor {
  std::string name;
  WeightType type = WeightType::kF32;
  std::vector<int64_t> shape;  // outermost first; the file has them reversed
  int64_t offset = 0;          // [bytes] from the start of the data; set by take_offsets()
  int64_t bytes() const;
};

/// Places the tensors one behind another, aligned.
void take_offsets(std::span<GgufTensor> tensors);

class GgufHeader {
 public:
  void add(std::string_view key, uint32_t value);
  void add(std::string_view key, float value);
  void add(std::string_view key, bool value);
  void add(std::string_view key, std::string_view value);
  void add(std::string_view key, std::span<const std::string> values);
  void add(std::string_view key, std::span<const float> values);
  void add(std::string_view key, std::span<const int32_t> values);
  /// A literal would be taken for a bool.
  void add(std::string_view key, const char* value) { add(key, std::string_view(value)); }

  /// The file up to the first tensor's data.
  std::string encode(std::span<const GgufTensor> tensors) const;

 private:
  enum class Kind : uint32_t;
  void begin(std::string_view key, Kind kind);
  void begin_array(std::string_view key, Kind kind, size_t size);

  uint64_t entries_ = 0;
  std::string metadata_;
};

}  // namespace rubato

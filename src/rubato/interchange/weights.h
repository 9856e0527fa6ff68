// Parameters in the types of other programs' files: half precision, bfloat16, and Q8_0 of
// llama.cpp, blocks of 32 integers of 8 bits that share one scale in half precision:
//   scale = max |x| / 127,  q = round(x / scale),  x' = q * scale
// Source: ggml's quantize_row_q8_0_ref; IEEE 754 binary16.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "rubato/base/status.h"
#include "rubato/store/safetensors.h"

namespace rubato {

enum class WeightType { kF32, kF16, kQ8_0 };

/// "f32", "f16", "q8_0".
std::string_view weight_type_name(WeightType type);
/// InvalidArgument lists the known names.
StatusOr<WeightType> parse_weight_type(std::string_view name);

inline constexpr int64_t kQ8Block = 32;  // [values] with one scale

/// [bytes] of `values` numbers; whole blocks in Q8_0.
int64_t weight_bytes(WeightType type, int64_t values);
/// Appends the encoding of `values`; whole blocks in Q8_0. InvalidArgument when a number is too
/// large for half precision.
Status append_weights(WeightType type, std::span<const float> values, std::string& out);

/// To the nearest, ties to even; beyond 65504 infinite.
uint16_t half_of(float value);
float float_of_half(uint16_t half);

/// The numbers of a tensor's bytes, which need not be aligned, exactly. False when `type` is not
/// F32, F16 or BF16. Aborts when there are not `out.size()` of them.
bool widen_weights(TensorType type, std::string_view bytes, std::span<float> out);

}  // namespace rubato

// The matrix products of an engine: in fp32, or of operands rounded to bf16 (8 digits of a
// significand instead of 24, the same range) with products and sums in fp32. Everything that is
// not a product, and the result of each, stays fp32; so do the parameters.
//   C = bf16(A) bf16(B) + beta C     rounding to nearest even, NaN and infinity kept
// Source: Kalamkar et al., A Study of BFLOAT16 for Deep Learning Training, 2019 (sums in fp32,
// weights kept in fp32).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>

#include "rubato/base/status.h"
#include "rubato/lm/arena.h"

namespace rubato {

enum class Products { kFp32, kBf16 };
inline constexpr std::array<std::string_view, 2> kProductsNames = {"fp32", "bf16"};

/// Whether oneDNN multiplies bf16 by instructions made for it (AVX512_BF16, AMX) on this processor.
bool processor_multiplies_bf16();
/// FailedPrecondition for bf16 on a processor that would compute it by detours.
Status check_products(Products products, bool has_bf16 = processor_multiplies_bf16());

class Bf16Gemm;

/// Multiplies for one thread at a time. The same bits on every thread. A product of a new shape
/// allocates (bf16 only), a known one does not, but for some hundred bytes inside of oneDNN.
class Multiplier {
 public:
  /// bf16 takes room for both operands from `carver`: up to `a_size` and `b_size` elements.
  Multiplier(Products products, int64_t a_size, int64_t b_size, Carver& carver);
  ~Multiplier();
  Multiplier(Multiplier&&) noexcept;

  /// C (m, n) = A (m, k) * B (k, n) + beta * C; beta is 0 or 1.
  void nn(int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b, int64_t ldb,
          float beta, float* c, int64_t ldc);
  /// C (m, n) = A (k, m)^T * B (k, n) + beta * C; beta is 0 or 1.
  void tn(int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b, int64_t ldb,
          float beta, float* c, int64_t ldc);

 private:
  uint16_t* a_ = nullptr;
  uint16_t* b_ = nullptr;
  int64_t a_size_, b_size_;
  std::unique_ptr<Bf16Gemm> bf16_;  // nullptr: fp32
};

}  // namespace rubato

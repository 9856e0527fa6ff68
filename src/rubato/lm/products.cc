#include "rubato/lm/products.h"

#include "rubato/lm/bf16_gemm.h"
#include "rubato/lm/gemm.h"
#include "rubato/lm/kernels/streams.h"

namespace rubato {

bool processor_multiplies_bf16() { return Bf16Gemm::has_instructions(); }

Status check_products(Products products, bool has_bf16) {
  if (products == Products::kFp32 || has_bf16) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "[engine] got products bf16 on a processor without instructions for them, want AVX512_BF16 "
      "or AMX, as /proc/cpuinfo names them; take train.products = \"fp32\" here");
}

Multiplier::Multiplier(Products products, int64_t a_size, int64_t b_size, Carver& carver)
    : a_size_(a_size), b_size_(b_size) {
  if (products == Products::kFp32) return;
  a_ = carver.take<uint16_t>(a_size);
  b_ = carver.take<uint16_t>(b_size);
  bf16_ = std::make_unique<Bf16Gemm>();
}

Multiplier::~Multiplier() = default;
Multiplier::Multiplier(Multiplier&&) noexcept = default;

void Multiplier::nn(int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b,
                    int64_t ldb, float beta, float* c, int64_t ldc) {
  if (bf16_ == nullptr) return gemm_nn(m, n, k, a, lda, b, ldb, beta, c, ldc);
  RUBATO_CHECK(m * k <= a_size_ && k * n <= b_size_);
  kernels::to_bf16(m, k, a, lda, a_);
  kernels::to_bf16(k, n, b, ldb, b_);
  bf16_->multiply({.m = m, .n = n, .k = k, .ldc = ldc, .a_transposed = false, .add = beta != 0}, a_,
                  b_, c);
}

void Multiplier::tn(int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b,
                    int64_t ldb, float beta, float* c, int64_t ldc) {
  if (bf16_ == nullptr) return gemm_tn(m, n, k, a, lda, b, ldb, beta, c, ldc);
  RUBATO_CHECK(m * k <= a_size_ && k * n <= b_size_);
  kernels::to_bf16(k, m, a, lda, a_);
  kernels::to_bf16(k, n, b, ldb, b_);
  bf16_->multiply({.m = m, .n = n, .k = k, .ldc = ldc, .a_transposed = true, .add = beta != 0}, a_,
                  b_, c);
}

}  // namespace rubato

// Matrix products through oneDNN's dnnl_sgemm, one thread per call: parallelism is over sequences,
// and every product small enough for a step is faster that way. Row-major, fp32.
#pragma once

#include <cstdint>

namespace rubato {

/// While one lives, oneDNN uses one thread for the calls of the current thread. Touches that
/// thread's setting only and puts it back.
class SingleThreadedGemm {
 public:
  SingleThreadedGemm();
  ~SingleThreadedGemm();
  SingleThreadedGemm(const SingleThreadedGemm&) = delete;
  SingleThreadedGemm& operator=(const SingleThreadedGemm&) = delete;

 private:
  int previous_;
};

/// C (m, n) = A (m, k) * B (n, k)^T + beta * C: a linear layer, B its (out, in) weight.
void gemm_nt(int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b,
             int64_t ldb, float beta, float* c, int64_t ldc);
/// C (m, n) = A (m, k) * B (k, n) + beta * C: the gradient of a linear layer's input.
void gemm_nn(int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b,
             int64_t ldb, float beta, float* c, int64_t ldc);
/// C (m, n) = A (k, m)^T * B (k, n) + beta * C: the gradient of a linear layer's weight.
void gemm_tn(int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b,
             int64_t ldb, float beta, float* c, int64_t ldc);

/// The same over dense matrices: what an inner optimizer of whole matrices is lent.
void gemm_dense_nt(int64_t m, int64_t n, int64_t k, const float* a, const float* b, float beta,
                   float* c);
void gemm_dense_tn(int64_t m, int64_t n, int64_t k, const float* a, const float* b, float beta,
                   float* c);
void gemm_dense_nn(int64_t m, int64_t n, int64_t k, const float* a, const float* b, float beta,
                   float* c);

}  // namespace rubato

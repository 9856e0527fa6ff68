#include "rubato/lm/gemm.h"

#include <dnnl.h>

#include "rubato/base/status.h"

// The OpenMP runtime that oneDNN is linked with. Declared here so that no compiler brings its own.
extern "C" {
void omp_set_num_threads(int);
int omp_get_max_threads(void);
}

namespace rubato {
namespace {

void gemm(char trans_a, char trans_b, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda,
          const float* b, int64_t ldb, float beta, float* c, int64_t ldc) {
  if (m == 0 || n == 0) return;
  const dnnl_status_t status =
      dnnl_sgemm(trans_a, trans_b, m, n, k, 1.0f, a, lda, b, ldb, beta, c, ldc);
  RUBATO_CHECK(status == dnnl_success, "[gemm] oneDNN refused ", m, " x ", n, " x ", k,
               " with status ", static_cast<int>(status));
}

}  // namespace

SingleThreadedGemm::SingleThreadedGemm() : previous_(omp_get_max_threads()) {
  omp_set_num_threads(1);
}
SingleThreadedGemm::~SingleThreadedGemm() { omp_set_num_threads(previous_); }

void gemm_nt(int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b,
             int64_t ldb, float beta, float* c, int64_t ldc) {
  gemm('N', 'T', m, n, k, a, lda, b, ldb, beta, c, ldc);
}

void gemm_nn(int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b,
             int64_t ldb, float beta, float* c, int64_t ldc) {
  gemm('N', 'N', m, n, k, a, lda, b, ldb, beta, c, ldc);
}

void gemm_tn(int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b,
             int64_t ldb, float beta, float* c, int64_t ldc) {
  gemm('T', 'N', m, n, k, a, lda, b, ldb, beta, c, ldc);
}

void gemm_dense_nt(int64_t m, int64_t n, int64_t k, const float* a, const float* b, float beta,
                   float* c) {
  gemm_nt(m, n, k, a, k, b, k, beta, c, n);
}

void gemm_dense_tn(int64_t m, int64_t n, int64_t k, const float* a, const float* b, float beta,
                   float* c) {
  gemm_tn(m, n, k, a, m, b, n, beta, c, n);
}

void gemm_dense_nn(int64_t m, int64_t n, int64_t k, const float* a, const float* b, float beta,
                   float* c) {
  gemm_nn(m, n, k, a, k, b, n, beta, c, n);
}

}  // namespace rubato

// Kernels of one token at a time: every parameter is read once, so memory is the limit. Rows of a
// matrix are independent: any split among threads gives the same bits.
#pragma once

#include <cstdint>

namespace rubato::kernels {

/// y[r] = <matrix row r, x>, added to y when `accumulate`, for rows [begin, end) of a dense matrix
/// (rows, cols).
void multiply_rows(int64_t begin, int64_t end, int64_t cols, const float* matrix, const float* x,
                   bool accumulate, float* y);

/// One head's attention of one query over `seen` positions: out [E] = sum_t softmax(<q, key t>)_t *
/// value t. Keys and values lie `stride` floats apart; q carries the factor 1/sqrt(E). `scores`
/// [seen] is scratch.
void attend(int64_t seen, int64_t head_dim, int64_t stride, const float* q, const float* keys,
            const float* values, float* scores, float* out);

/// sum x, for measuring how fast memory can be read.
float sum_of(int64_t n, const float* x);

}  // namespace rubato::kernels

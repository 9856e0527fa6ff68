// Causal attention of one head of one sequence, and the packing around it. Everything is computed
// in groups of 8 query rows that stop at their own diagonal; probabilities are never kept, the
// backward pass makes them again from the rows' log-sum-exp.
//
// Packed matrices hold one head: (Tp, Ep) with Tp, Ep = T, E rounded up to 16 and zeros in the
// padding; transposed ones (Ep, Tp + 16), the extra 16 floats against cache-set conflicts of
// powers of two. Queries carry the factor 1/sqrt(E).
#pragma once

#include <cstdint>

namespace rubato::kernels {

/// Rows whose probabilities are held at a time in the backward pass: enough for long sums over
/// queries, few enough for two such strips to stay in the second-level cache.
inline constexpr int64_t kAttentionStripRows = 64;

struct HeadShape {
  int64_t positions = 0;  // T
  int64_t head_dim = 0;   // E

  int64_t padded_positions() const { return (positions + 15) / 16 * 16; }
  int64_t padded_dim() const { return (head_dim + 15) / 16 * 16; }
  int64_t packed_floats() const { return padded_positions() * padded_dim(); }
  int64_t transposed_stride() const { return padded_positions() + 16; }
  int64_t transposed_floats() const { return padded_dim() * transposed_stride(); }
};

/// Rotation of position t and pair i in the half-split layout: (x[i], x[i + E/2]) turns by
/// t * theta^(-2i/E). Tables are (T, E/2).
struct RopeTables {
  const float* cosine = nullptr;
  const float* sine = nullptr;
};

// Packing sweeps over rows once and takes `heads` neighbouring heads from each, so that memory is
// read in order; head h goes to the h-th packed matrix.

/// Rows of `from` (row stride `stride`), rotated and times `scale`, into packed matrices.
void pack_rotated(HeadShape shape, int64_t heads, RopeTables rope, const float* from,
                  int64_t stride, float scale, float* packed);
/// Rows of `from` as they are into packed matrices.
void pack_rows(HeadShape shape, int64_t heads, const float* from, int64_t stride, float* packed);
/// dots (heads, Tp): <x, y> of each row's heads, zero in the padding.
void dot_rows(HeadShape shape, int64_t heads, const float* x, const float* y, int64_t stride,
              float* dots);
/// A packed matrix transposed.
void transpose_packed(HeadShape shape, const float* packed, float* transposed);
/// The gradient of pack_rotated's input (rotated back, times `scale`) into rows of `to`.
void unpack_rotated(HeadShape shape, int64_t heads, RopeTables rope, const float* packed,
                    float scale, float* to, int64_t stride);
/// The first T rows and E columns of packed matrices into rows of `to`.
void unpack_rows(HeadShape shape, int64_t heads, const float* packed, float* to, int64_t stride);

/// Floats of scratch memory that a head needs.
int64_t attention_forward_scratch(HeadShape shape);
int64_t attention_backward_scratch(HeadShape shape);

/// out (rows with stride `out_stride`) = softmax(q k^T, causal) v; log_sum_exp [T] per row.
void attention_forward(HeadShape shape, const float* q, const float* k_transposed, const float* v,
                       float* scratch, float* out, int64_t out_stride, float* log_sum_exp);

/// What the backward pass of one query head reads; matrices are packed.
struct AttentionBackwardInputs {
  const float* q;
  const float* k;
  const float* k_transposed;
  const float* v_transposed;
  const float* log_sum_exp;  // [T]
  const float* dout;
  const float* along;  // [Tp] <dout, out> by row
};

/// dq is written, dk and dv are added to; all packed (of the scaled and rotated queries and keys).
void attention_backward(HeadShape shape, const AttentionBackwardInputs& in, float* scratch,
                        float* dq, float* dk, float* dv);

}  // namespace rubato::kernels

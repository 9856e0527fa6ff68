// Attention of one head against plain loops in double, forwards and backwards, over lengths and
// head dimensions that are no multiple of anything, on every instruction set of this processor.
#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/lm/instruction_sets.h"
#include <gtest/gtest.h>

#include "rubato/base/rng.h"
#include "rubato/lm/kernels/attention.h"

namespace rubato::kernels {
namespace {

std::vector<float> normals(int64_t count, uint64_t key) {
  std::vector<float> values(count);
  Rng rng(12, RngStream::kTest, key);
  for (float& value : values) value = static_cast<float>(rng.normal());
  return values;
}

// softmax(q k^T, causal) v over rows (T, E), and its gradient, in double.
struct Plain {
  int64_t t, e;
  std::vector<double> prob, out, dq, dk, dv;

  Plain(int64_t positions, int64_t dim, const std::vector<float>& q, const std::vector<float>& k,
        const std::vector<float>& v, const std::vector<float>& dout)
      : t(positions), e(dim), prob(t * t), out(t * e), dq(t * e), dk(t * e), dv(t * e) {
    for (int64_t i = 0; i < t; ++i) {
      double total = 0;
      for (int64_t j = 0; j <= i; ++j) total += prob[i * t + j] = std::exp(dot(q, i, k, j));
      double along = 0;
      for (int64_t j = 0; j <= i; ++j) {
        prob[i * t + j] /= total;
        along += prob[i * t + j] * dot(dout, i, v, j);
      }
      for (int64_t j = 0; j <= i; ++j) {
        const double p = prob[i * t + j], ds = p * (dot(dout, i, v, j) - along);
        for (int64_t c = 0; c < e; ++c) {
          out[i * e + c] += p * static_cast<double>(v[j * e + c]);
          dv[j * e + c] += p * static_cast<double>(dout[i * e + c]);
          dq[i * e + c] += ds * static_cast<double>(k[j * e + c]);
          dk[j * e + c] += ds * static_cast<double>(q[i * e + c]);
        }
      }
    }
  }
  double dot(const std::vector<float>& a, int64_t i, const std::vector<float>& b, int64_t j) const {
    double sum = 0;
    for (int64_t c = 0; c < e; ++c)
      sum += static_cast<double>(a[i * e + c]) * static_cast<double>(b[j * e + c]);
    return sum;
  }
};

class KernelAttention : public OnEveryInstructionSet {};

INSTANTIATE_TEST_SUITE_P(Sets, KernelAttention, ::testing::ValuesIn(instruction_sets()),
                         [](const auto& named) { return instruction_set_name(named.param); });

TEST_P(KernelAttention, ForwardAndBackwardAgreeWithPlainLoops) {
  for (const auto& [t, e] :
       {std::pair<int64_t, int64_t>{1, 2}, {5, 6}, {16, 16}, {33, 10}, {64, 32}, {130, 34}}) {
    const HeadShape shape = {.positions = t, .head_dim = e};
    const auto q = normals(t * e, 1), k = normals(t * e, 2), v = normals(t * e, 3),
               dout = normals(t * e, 4);
    const Plain want(t, e, q, k, v, dout);
    std::vector<float> pq(shape.packed_floats()), pk = pq, pv = pq, dq = pq, dk = pq, dv = pq;
    std::vector<float> kt(shape.transposed_floats()), vt = kt, out(t * e), lse(t);
    std::vector<float> scratch(
        std::max(attention_forward_scratch(shape), attention_backward_scratch(shape)), NAN);
    pack_rows(shape, 1, q.data(), e, pq.data());
    pack_rows(shape, 1, k.data(), e, pk.data());
    pack_rows(shape, 1, v.data(), e, pv.data());
    transpose_packed(shape, pk.data(), kt.data());
    transpose_packed(shape, pv.data(), vt.data());
    attention_forward(shape, pq.data(), kt.data(), pv.data(), scratch.data(), out.data(), e,
                      lse.data());
    std::vector<float> pdout(shape.packed_floats()), along(shape.padded_positions(), NAN);
    pack_rows(shape, 1, dout.data(), e, pdout.data());
    dot_rows(shape, 1, dout.data(), out.data(), e, along.data());
    attention_backward(shape,
                       {.q = pq.data(),
                        .k = pk.data(),
                        .k_transposed = kt.data(),
                        .v_transposed = vt.data(),
                        .log_sum_exp = lse.data(),
                        .dout = pdout.data(),
                        .along = along.data()},
                       scratch.data(), dq.data(), dk.data(), dv.data());
    const auto expect_rows = [&](const std::vector<float>& got, const std::vector<double>& rows,
                                 const char* what) {
      std::vector<float> plain(t * e);
      unpack_rows(shape, 1, got.data(), plain.data(), e);
      for (int64_t i = 0; i < t * e; ++i) {
        ASSERT_NEAR(plain[i], rows[i], 1e-4 * (1 + std::abs(rows[i])))
            << what << " T " << t << " E " << e << " at " << i;
      }
    };
    for (int64_t i = 0; i < t * e; ++i) ASSERT_NEAR(out[i], want.out[i], 1e-4) << t << " " << e;
    expect_rows(dq, want.dq, "dq");
    expect_rows(dk, want.dk, "dk");
    expect_rows(dv, want.dv, "dv");
  }
}

TEST_P(KernelAttention, RotationTurnsPairsOfHalvesOfEveryHeadAndBack) {
  const int64_t t = 9, e = 22, half = e / 2, heads = 3, stride = heads * e + 5;
  const HeadShape shape = {.positions = t, .head_dim = e};
  std::vector<float> cosine(t * half), sine(t * half);
  for (int64_t i = 0; i < t * half; ++i) {
    cosine[i] = std::cos(0.3f * static_cast<float>(i));
    sine[i] = std::sin(0.3f * static_cast<float>(i));
  }
  const RopeTables rope = {cosine.data(), sine.data()};
  const auto x = normals(t * stride, 7);
  std::vector<float> packed(heads * shape.packed_floats(), NAN), back = x;
  pack_rotated(shape, heads, rope, x.data(), stride, 0.5f, packed.data());
  for (int64_t h = 0; h < heads; ++h) {
    const float* head = packed.data() + h * shape.packed_floats();
    for (int64_t r = 0; r < t; ++r) {
      for (int64_t i = 0; i < half; ++i) {
        const float c = cosine[r * half + i], s = sine[r * half + i];
        const float low = x[r * stride + h * e + i], high = x[r * stride + h * e + half + i];
        EXPECT_NEAR(head[r * shape.padded_dim() + i], 0.5f * (low * c - high * s), 1e-6);
        EXPECT_NEAR(head[r * shape.padded_dim() + half + i], 0.5f * (high * c + low * s), 1e-6);
      }
    }
    for (int64_t i = t * shape.padded_dim(); i < shape.packed_floats(); ++i) EXPECT_EQ(head[i], 0);
  }
  for (int64_t r = 0; r < t; ++r) std::fill_n(back.data() + r * stride, heads * e, 0.0f);
  unpack_rotated(shape, heads, rope, packed.data(), 2.0f, back.data(), stride);
  for (int64_t i = 0; i < t * stride; ++i) EXPECT_NEAR(back[i], x[i], 1e-5);
}

}  // namespace
}  // namespace rubato::kernels

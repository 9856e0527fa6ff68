// Every kernel against a plain loop in double, on every instruction set that this processor has:
// the portable one must be as right as the fast one.
#include <cmath>
#include <cstring>
#include <vector>

#include "tests/lm/instruction_sets.h"
#include <gtest/gtest.h>

#include "rubato/base/rng.h"
#include "rubato/lm/kernels/decode.h"
#include "rubato/lm/kernels/rows.h"
#include "rubato/lm/kernels/streams.h"

namespace rubato::kernels {
namespace {

std::vector<float> normals(int64_t count, uint64_t key) {
  std::vector<float> values(count);
  Rng rng(11, RngStream::kTest, key);
  for (float& value : values) value = static_cast<float>(rng.normal());
  return values;
}

double at(const std::vector<float>& values, int64_t i) { return static_cast<double>(values[i]); }

class KernelRows : public OnEveryInstructionSet {};

INSTANTIATE_TEST_SUITE_P(Sets, KernelRows, ::testing::ValuesIn(instruction_sets()),
                         [](const auto& named) { return instruction_set_name(named.param); });

TEST_P(KernelRows, RmsNormForwardAndBackward) {
  for (int64_t width : {1, 7, 16, 100}) {
    const int64_t rows = 3;
    const auto x = normals(rows * width, 1), w = normals(width, 2), dy = normals(rows * width, 3);
    std::vector<float> y(rows * width), inverse(rows), dx = normals(rows * width, 4);
    std::vector<float> dw = normals(width, 5);
    const std::vector<float> dx_before = dx;
    std::vector<double> want_dw(dw.begin(), dw.end());
    rms_norm_forward(rows, width, 1e-5f, x.data(), w.data(), y.data(), inverse.data());
    rms_norm_backward(rows, width, dy.data(), x.data(), w.data(), inverse.data(), dx.data(),
                      dw.data());
    for (int64_t r = 0; r < rows; ++r) {
      double squares = 0, along = 0;
      for (int64_t i = 0; i < width; ++i) {
        squares += at(x, r * width + i) * at(x, r * width + i);
        along += at(dy, r * width + i) * at(w, i) * at(x, r * width + i);
      }
      const double inv = 1 / std::sqrt(squares / static_cast<double>(width) + 1e-5);
      EXPECT_NEAR(inverse[r], inv, 1e-5 * inv);
      for (int64_t i = 0; i < width; ++i) {
        const int64_t at_i = r * width + i;
        EXPECT_NEAR(y[at_i], at(x, at_i) * inv * at(w, i), 1e-5);
        const double want =
            at(dx_before, at_i) + inv * (at(dy, at_i) * at(w, i) - at(x, at_i) * inv * inv * along /
                                                                       static_cast<double>(width));
        EXPECT_NEAR(dx[at_i], want, 1e-4 * (1 + std::abs(want)));
        want_dw[i] += at(dy, at_i) * at(x, at_i) * inv;
      }
    }
    for (int64_t i = 0; i < width; ++i) EXPECT_NEAR(dw[i], want_dw[i], 1e-4);
  }
}

TEST_P(KernelRows, SwigluForwardAndBackward) {
  for (int64_t ffn : {1, 5, 16, 37}) {
    const int64_t rows = 2;
    auto gate_up = normals(rows * 2 * ffn, 1);
    gate_up[0] = 200;  // far beyond where exp would overflow, both ways
    gate_up[2 * ffn] = -200;
    const auto dout = normals(rows * ffn, 2);
    std::vector<float> out(rows * ffn), gradient = gate_up;
    swiglu_forward(rows, ffn, gate_up.data(), out.data());
    swiglu_backward(rows, ffn, dout.data(), gradient.data());
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t i = 0; i < ffn; ++i) {
        const double g = at(gate_up, r * 2 * ffn + i), u = at(gate_up, r * 2 * ffn + ffn + i);
        const double s = 1 / (1 + std::exp(-g)), dy = at(dout, r * ffn + i);
        EXPECT_NEAR(out[r * ffn + i], g * s * u, 1e-5 * (1 + std::abs(g * s * u)));
        const double dg = dy * u * s * (1 + g * (1 - s)), du = dy * g * s;
        EXPECT_NEAR(gradient[r * 2 * ffn + i], dg, 1e-5 * (1 + std::abs(dg)));
        EXPECT_NEAR(gradient[r * 2 * ffn + ffn + i], du, 1e-5 * (1 + std::abs(du)));
      }
    }
  }
}

TEST_P(KernelRows, ExponentialsOfRowsWithStride) {
  const int64_t stride = 70;
  for (int64_t cols : {1, 3, 16, 33, 64}) {
    auto tile = normals(2 * stride, 1);
    for (float& value : tile) value *= 30;
    const auto before = tile;
    std::vector<float> max(2, -INFINITY), rescale(2), sum(2);
    exp_rows(2, cols, stride, tile.data(), max.data(), rescale.data(), sum.data());
    for (int64_t r = 0; r < 2; ++r) {
      double want_max = at(before, r * stride), want_sum = 0;
      for (int64_t i = 0; i < cols; ++i) want_max = std::max(want_max, at(before, r * stride + i));
      for (int64_t i = 0; i < cols; ++i) {
        // The difference as the kernel sees it; a bound of 4 units in the last place.
        const float behind = before[r * stride + i] - static_cast<float>(want_max);
        const double want = std::exp(static_cast<double>(behind));
        EXPECT_NEAR(tile[r * stride + i], want, 5e-7 * want + 2e-38);
        want_sum += want;
      }
      EXPECT_EQ(max[r], static_cast<float>(want_max));
      EXPECT_EQ(rescale[r], 0.0f) << "there was nothing before";
      EXPECT_NEAR(sum[r], want_sum, 1e-5 * want_sum);
      for (int64_t i = cols; i < stride; ++i)
        EXPECT_EQ(tile[r * stride + i], before[r * stride + i]);
    }
  }
}

TEST_P(KernelRows, AShiftRisesOnlyForARowFarAboveIt) {
  for (const float above : {-50.0f, 0.0f, 31.0f, 33.0f, 200.0f}) {
    std::vector<float> tile(20, above - 1);
    tile[13] = above;
    float shift = 5, rescale = 0, sum = 0;
    for (float& value : tile) value += 5;
    exp_rows(1, 20, 20, tile.data(), &shift, &rescale, &sum);
    const bool rises = above > kShiftHeadroom;
    EXPECT_EQ(shift, rises ? above + 5 : 5) << above;
    EXPECT_NEAR(rescale, rises ? std::exp(-static_cast<double>(above)) : 1.0, 1e-20) << above;
    const double top = std::exp(static_cast<double>(rises ? 0 : above));
    EXPECT_NEAR(tile[13], top, 1e-6 * top) << above;
    EXPECT_NEAR(sum, top * (1 + 19 * std::exp(-1.0)), 2e-6 * 8 * top) << above;
  }
}

TEST_P(KernelRows, ExponentialsKeepNotANumber) {
  std::vector<float> tile(40, 1.0f);
  tile[20] = NAN;
  float shift = -INFINITY, rescale = 0, sum = 0;
  exp_rows(1, 40, 40, tile.data(), &shift, &rescale, &sum);
  EXPECT_TRUE(std::isnan(sum));
}

TEST_P(KernelRows, GatherScatterScaleAndSums) {
  const int64_t width = 21;
  const auto table = normals(5 * width, 1), values = normals(3 * width, 2);
  const std::vector<int32_t> ids = {4, 0, 4};
  std::vector<float> out(3 * width), added = table;
  gather_rows(3, width, table.data(), ids.data(), out.data());
  scatter_add_rows(3, width, 1.0f, values.data(), ids.data(), added.data());
  for (int64_t i = 0; i < width; ++i) {
    EXPECT_EQ(out[i], table[4 * width + i]);
    EXPECT_EQ(out[width + i], table[i]);
    EXPECT_EQ(added[i], table[i] + values[width + i]);
    EXPECT_EQ(added[4 * width + i], table[4 * width + i] + values[i] + values[2 * width + i]);
    EXPECT_EQ(added[2 * width + i], table[2 * width + i]);
  }
  std::vector<float> gathered = values, taken = table;
  gather_add_rows(3, width, -2.0f, table.data(), ids.data(), gathered.data());
  scatter_add_rows(3, width, -2.0f, values.data(), ids.data(), taken.data());
  for (int64_t i = 0; i < width; ++i) {
    EXPECT_FLOAT_EQ(gathered[i], values[i] - 2 * table[4 * width + i]);
    EXPECT_FLOAT_EQ(gathered[width + i], values[width + i] - 2 * table[i]);
    EXPECT_FLOAT_EQ(taken[i], table[i] - 2 * values[width + i]);
    EXPECT_EQ(taken[3 * width + i], table[3 * width + i]);
  }
  const std::vector<float> factor = {2.0f, -1.0f, 0.5f};
  std::vector<float> scaled(3 * width, 7.0f);
  scale_rows(3, width, factor.data(), out.data(), scaled.data());
  EXPECT_EQ(scaled[2 * width + 5], 0.5f * table[4 * width + 5]);
  scale_rows(3, width, factor.data(), out.data(), out.data());
  EXPECT_EQ(out[width + 3], -table[3]);
  EXPECT_EQ(out, scaled) << "in place too";
  double squares = 0;
  for (int64_t i = 0; i < 5 * width; ++i) squares += at(table, i) * at(table, i);
  EXPECT_NEAR(sum_of_squares(5 * width, table.data()), squares, 1e-5 * squares);
  add_to(3 * width, values.data(), out.data());
  EXPECT_EQ(out[width + 3], -table[3] + values[width + 3]);
}

TEST_P(KernelRows, TransposesAndTouchesNothingElse) {
  for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{1, 1}, {16, 4}, {19, 7}, {50, 33}}) {
    const int64_t from_stride = cols + 3, to_stride = rows + 5;
    const auto from = normals(rows * from_stride, 1);
    std::vector<float> to(cols * to_stride, -7.0f);
    transpose(rows, cols, from.data(), from_stride, to.data(), to_stride);
    for (int64_t c = 0; c < cols; ++c) {
      for (int64_t r = 0; r < to_stride; ++r)
        EXPECT_EQ(to[c * to_stride + r], r < rows ? from[r * from_stride + c] : -7.0f);
    }
  }
}

TEST_P(KernelRows, RoundsToBf16ToNearestEvenAndKeepsNaN) {
  const auto bf16 = [](float value) {
    std::vector<uint16_t> out(1);
    to_bf16(1, 1, &value, 1, out.data());
    return out[0];
  };
  const auto of_bits = [](uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof(value));
    return value;
  };
  EXPECT_EQ(bf16(1.0f), 0x3F80);
  EXPECT_EQ(bf16(-0.0f), 0x8000);
  EXPECT_EQ(bf16(of_bits(0x3F808000)), 0x3F80) << "a tie goes to the even neighbour below";
  EXPECT_EQ(bf16(of_bits(0x3F818000)), 0x3F82) << "and above";
  EXPECT_EQ(bf16(of_bits(0x3F808001)), 0x3F81);
  EXPECT_EQ(bf16(of_bits(0xBFFFFFFF)), 0xC000) << "carries into the exponent";
  EXPECT_EQ(bf16(of_bits(0x7F7FFFFF)), 0x7F80) << "the largest number is nearer to infinity";
  EXPECT_EQ(bf16(of_bits(0xFF800000)), 0xFF80);
  EXPECT_EQ(bf16(of_bits(0x7FFFFFFF)), 0x7FFF) << "a NaN, not a negative zero";
  EXPECT_EQ(bf16(of_bits(0x7F800001)), 0x7FC0) << "a NaN, not an infinity";
}

TEST_P(KernelRows, RoundsRowsOfAnyWidthAndStride) {
  for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{1, 1}, {3, 16}, {5, 37}, {2, 65}}) {
    for (const int64_t stride : {cols, cols + 3}) {
      const auto from = normals(rows * stride, 1);
      std::vector<uint16_t> to(rows * cols + 1, 0xABCD);
      to_bf16(rows, cols, from.data(), stride, to.data());
      EXPECT_EQ(to.back(), 0xABCD);
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t c = 0; c < cols; ++c) {
          const uint32_t bits = uint32_t{to[r * cols + c]} << 16;
          float value;
          std::memcpy(&value, &bits, sizeof(value));
          const float want = from[r * stride + c];
          EXPECT_NEAR(value, want, std::abs(want) / 256);
        }
      }
    }
  }
}

TEST_P(KernelRows, MatrixTimesVectorWhateverTheSplit) {
  for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{1, 1}, {5, 7}, {9, 16}, {13, 50}}) {
    const auto matrix = normals(rows * cols, 1), x = normals(cols, 2), before = normals(rows, 3);
    std::vector<float> whole(rows), split(rows), added = before;
    multiply_rows(0, rows, cols, matrix.data(), x.data(), false, whole.data());
    for (int64_t r = 0; r < rows; ++r)
      multiply_rows(r, r + 1, cols, matrix.data(), x.data(), false, split.data());
    multiply_rows(0, rows, cols, matrix.data(), x.data(), true, added.data());
    EXPECT_EQ(whole, split);
    for (int64_t r = 0; r < rows; ++r) {
      double want = 0;
      for (int64_t i = 0; i < cols; ++i) want += at(matrix, r * cols + i) * at(x, i);
      EXPECT_NEAR(whole[r], want, 1e-5);
      EXPECT_EQ(added[r], before[r] + whole[r]);
    }
  }
}

TEST_P(KernelRows, AttentionOfOneQuery) {
  for (int64_t head_dim : {2, 6, 16, 34}) {
    const int64_t seen = 19, stride = head_dim + 3;
    const auto q = normals(head_dim, 1), keys = normals(seen * stride, 2),
               values = normals(seen * stride, 3);
    std::vector<float> scores(seen), out(head_dim);
    attend(seen, head_dim, stride, q.data(), keys.data(), values.data(), scores.data(), out.data());
    std::vector<double> weights(seen), want(head_dim);
    double total = 0;
    for (int64_t t = 0; t < seen; ++t) {
      double score = 0;
      for (int64_t i = 0; i < head_dim; ++i) score += at(q, i) * at(keys, t * stride + i);
      total += weights[t] = std::exp(score);
    }
    for (int64_t i = 0; i < head_dim; ++i) {
      for (int64_t t = 0; t < seen; ++t) want[i] += weights[t] / total * at(values, t * stride + i);
      EXPECT_NEAR(out[i], want[i], 1e-5) << head_dim;
    }
  }
}

}  // namespace
}  // namespace rubato::kernels

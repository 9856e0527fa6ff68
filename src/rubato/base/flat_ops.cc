#include "rubato/base/flat_ops.h"

#include <cmath>
#include <cstring>

#include "rubato/base/status.h"

namespace rubato {
namespace {

// Sixteen partial sums in fixed order: the compiler may vectorise it without changing a bit.
template <class Term>
double blocked_sum(int64_t size, Term term) {
  double total = 0;
  for (int64_t begin = 0; begin < size; begin += kBlockFloats) {
    const int64_t end = begin + kBlockFloats < size ? begin + kBlockFloats : size;
    double lanes[16] = {};
    int64_t i = begin;
    for (; i + 16 <= end; i += 16) {
      for (int64_t lane = 0; lane < 16; ++lane) lanes[lane] += term(i + lane);
    }
    for (int64_t lane = 0; i < end; ++i, ++lane) lanes[lane] += term(i);
    double block = 0;
    for (double lane : lanes) block += lane;
    total += block;
  }
  return total;
}

}  // namespace

double dot(std::span<const float> x, std::span<const float> y) {
  RUBATO_CHECK(x.size() == y.size());
  return blocked_sum(static_cast<int64_t>(x.size()), [&](int64_t i) {
    return static_cast<double>(x[i]) * static_cast<double>(y[i]);
  });
}

double l2_norm(std::span<const float> x) { return std::sqrt(dot(x, x)); }

bool all_finite(std::span<const float> x) {
  // An exponent of all ones is NaN or infinity; integer tests survive every compiler flag.
  uint32_t bad = 0;
  for (float value : x) {
    uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    bad |= static_cast<uint32_t>((bits & 0x7F800000u) == 0x7F800000u);
  }
  return bad == 0;
}

void subtract(std::span<const float> a, std::span<const float> b, std::span<float> y) {
  RUBATO_CHECK(a.size() == b.size() && a.size() == y.size());
  for (size_t i = 0; i < y.size(); ++i) y[i] = a[i] - b[i];
}

void add_scaled(float scale, std::span<const float> x, std::span<float> y) {
  RUBATO_CHECK(x.size() == y.size());
  for (size_t i = 0; i < y.size(); ++i) y[i] += scale * x[i];
}

}  // namespace rubato

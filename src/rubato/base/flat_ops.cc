#include "rubato/base/flat_ops.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "rubato/base/multiversion.h"
#include "rubato/base/status.h"

namespace rubato {
namespace {

// Sixteen partial sums in fixed order: the compiler may vectorise it without changing a bit.
constexpr int64_t kLanes = 16;

double sum_of(std::span<const double> lanes) {
  double sum = 0;
  for (double lane : lanes) sum += lane;
  return sum;
}

template <class Term>
double blocked_sum(int64_t size, Term term) {
  double total = 0;
  for (int64_t begin = 0; begin < size; begin += kBlockFloats) {
    const int64_t end = begin + kBlockFloats < size ? begin + kBlockFloats : size;
    double lanes[kLanes] = {};
    int64_t i = begin;
    for (; i + kLanes <= end; i += kLanes) {
      for (int64_t lane = 0; lane < kLanes; ++lane) lanes[lane] += term(i + lane);
    }
    for (int64_t lane = 0; i < end; ++i, ++lane) lanes[lane] += term(i);
    total += sum_of(lanes);
  }
  return total;
}

// lanes += the squares of `rows` x kLanes floats. Vectors by name: gcc takes so short an inner loop
// apart before it could see them.
RUBATO_MULTIVERSION void add_squares(const float* x, int64_t rows, double* lanes) {
  using Floats = float __attribute__((vector_size(kLanes * sizeof(float))));
  using Doubles = double __attribute__((vector_size(kLanes * sizeof(double))));
  Doubles sums;
  std::memcpy(&sums, lanes, sizeof sums);
  for (int64_t row = 0; row < rows; ++row, x += kLanes) {
    Floats floats;
    std::memcpy(&floats, x, sizeof floats);
    const Doubles values = __builtin_convertvector(floats, Doubles);
    sums += values * values;
  }
  std::memcpy(lanes, &sums, sizeof sums);
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

// Every element falls into the lane, and every block into the order, that blocked_sum gives it.
void NormAccumulator::add(std::span<const float> piece) {
  const auto size = static_cast<int64_t>(piece.size());
  for (int64_t i = 0; i < size;) {
    const int64_t at = count_ % kBlockFloats, left = std::min(kBlockFloats - at, size - i);
    const int64_t lane = at % kLanes;
    int64_t done = 0;
    if (lane == 0 && left >= kLanes) {
      done = left / kLanes * kLanes;
      add_squares(piece.data() + i, done / kLanes, lanes_.data());
    } else {
      for (; done < std::min(left, kLanes - lane); ++done) {
        const auto value = static_cast<double>(piece[i + done]);
        lanes_[lane + done] += value * value;
      }
    }
    i += done;
    count_ += done;
    if (count_ % kBlockFloats == 0) {
      total_ += sum_of(lanes_);
      lanes_.fill(0);
    }
  }
}

double NormAccumulator::norm() const { return std::sqrt(total_ + sum_of(lanes_)); }

bool NormAccumulator::finite() const { return std::isfinite(norm()); }

}  // namespace rubato

#include "rubato/base/rng.h"

#include <cmath>
#include <numbers>

#include "rubato/base/status.h"

namespace rubato {
namespace {

struct Wide {
  uint32_t high, low;
};

Wide multiply(uint32_t a, uint32_t b) {
  const uint64_t product = static_cast<uint64_t>(a) * b;
  return {static_cast<uint32_t>(product >> 32), static_cast<uint32_t>(product)};
}

}  // namespace

Rng::Rng(uint64_t seed, RngStream stream, uint64_t key)
    : key_{static_cast<uint32_t>(seed),
           static_cast<uint32_t>(seed >> 32) ^ (static_cast<uint32_t>(stream) << 24)},
      counter_{0, 0, static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)} {}

void Rng::refill() {
  // The multipliers and Weyl constants are the published ones of Philox4x32.
  constexpr uint32_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
  constexpr uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
  std::array<uint32_t, 4> x = counter_;
  std::array<uint32_t, 2> k = key_;
  for (int round = 0; round < 10; ++round) {
    const Wide p0 = multiply(kMultiplier0, x[0]);
    const Wide p1 = multiply(kMultiplier1, x[2]);
    x = {p1.high ^ x[1] ^ k[0], p1.low, p0.high ^ x[3] ^ k[1], p0.low};
    k[0] += kWeyl0;
    k[1] += kWeyl1;
  }
  buffer_ = {(static_cast<uint64_t>(x[1]) << 32) | x[0],
             (static_cast<uint64_t>(x[3]) << 32) | x[2]};
  buffered_ = 2;
  if (++counter_[0] == 0) ++counter_[1];
}

uint64_t Rng::next_u64() {
  if (buffered_ == 0) refill();
  return buffer_[--buffered_];
}

uint64_t Rng::below(uint64_t bound) {
  RUBATO_CHECK(bound >= 1);
  const uint64_t limit =
      (~uint64_t{0} / bound) * bound;  // a multiple of bound: the rest is drawn again
  uint64_t draw = next_u64();
  while (draw >= limit) draw = next_u64();
  return draw % bound;
}

double Rng::uniform() { return static_cast<double>(next_u64() >> 11) * 0x1.0p-53; }

double Rng::normal() {
  if (has_spare_) {
    has_spare_ = false;
    return spare_normal_;
  }
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
  const double angle = 2.0 * std::numbers::pi * uniform();
  spare_normal_ = radius * std::sin(angle);
  has_spare_ = true;
  return radius * std::cos(angle);
}

uint64_t mix_bits(uint64_t a, uint64_t b, uint64_t c) {
  // splitmix64's finaliser (Steele et al. 2014) after each word, so that no two words can trade.
  uint64_t x = 0;
  for (uint64_t word : {a, b, c}) {
    x += 0x9E3779B97F4A7C15 + word;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
    x ^= x >> 31;
  }
  return x;
}

}  // namespace rubato

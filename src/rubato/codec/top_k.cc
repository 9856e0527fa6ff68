// top_k: the largest values of every block as they are, zeros for the others.
//   k = ceil(share * n) of a block of n values;  y = x where |x| is among the k largest, else 0
// Of equal magnitudes the earlier ones are kept; NaN counts as largest. Wants error feedback: what
// is left out must come later (codec/error_feedback.h).
// Source: arXiv:1704.05021; convergence with error feedback, arXiv:1809.07599; of pseudo-gradients,
// in blocks, arXiv:2508.15706.
// About 48 * share bits a value: an index of 16 bits and a float for each that is kept.
// Invariant: |y - x| <= the smallest kept magnitude, kept values exact (TopK.* in codecs_test).
#include <cmath>

#include "rubato/base/multiversion.h"
#include "rubato/codec/pieces.h"

namespace rubato {
namespace {

constexpr int64_t kEntry = sizeof(uint16_t) + sizeof(float);  // [bytes] of a value that is kept

RUBATO_INLINE int64_t count_above(const float* values, int64_t count, int32_t threshold) {
  int32_t above = 0;
  for (int64_t i = 0; i < count; ++i) above += magnitude(values[i]) > threshold ? 1 : 0;
  return above;
}

struct Threshold {
  int32_t magnitude;  // all above are kept,
  int64_t ties;       // and so many of those that equal it
};

// The search needs no memory and its passes are vector code over a block in the first-level cache.
// It stops as soon as a threshold parts exactly k from the others: after a dozen passes, mostly.
RUBATO_INLINE Threshold find_threshold(const float* values, int64_t count, int64_t k) {
  if (k == count) return {-1, 0};
  int32_t high = 0;
  for (int64_t i = 0; i < count; ++i) high = std::max(high, magnitude(values[i]));
  int32_t low = -1;  // more than k are above low, fewer than k above high
  // The k-th largest is most often within a few powers of two of the largest.
  for (int32_t step = 1 << 22; high >= step && step < 1 << 28; step *= 2) {
    const int64_t above = count_above(values, count, high - step);
    if (above == k) return {high - step, 0};
    if (above > k) {
      low = high - step;
      break;
    }
    high -= step;
  }
  while (high - low > 1) {
    const int32_t middle = low + (high - low) / 2;
    const int64_t above = count_above(values, count, middle);
    if (above == k) return {middle, 0};
    (above > k ? low : high) = middle;
  }
  return {high, k - count_above(values, count, high)};
}

// indices [k], then values [k].
RUBATO_INLINE void keep(const float* values, int64_t count, Threshold threshold, int64_t k,
                        std::byte* encoded) {
  constexpr int64_t kStride = 32;
  int64_t kept = 0;
  for (int64_t begin = 0; begin < count; begin += kStride) {
    const int64_t end = std::min(begin + kStride, count);
    int32_t largest = 0;
    for (int64_t i = begin; i < end; ++i) largest = std::max(largest, magnitude(values[i]));
    if (largest < threshold.magnitude) continue;
    for (int64_t i = begin; i < end; ++i) {
      const int32_t own = magnitude(values[i]);
      const bool tie = own == threshold.magnitude && threshold.ties > 0;
      if (own <= threshold.magnitude && !tie) continue;
      threshold.ties -= tie ? 1 : 0;
      store(encoded + 2 * kept, static_cast<uint16_t>(i));
      store(encoded + 2 * k + 4 * kept, values[i]);
      ++kept;
    }
  }
}

RUBATO_MULTIVERSION void encode_top_k(const float* __restrict values, int64_t count, int64_t k,
                                      std::byte* __restrict encoded) {
  keep(values, count, find_threshold(values, count, k), k, encoded);
}

class TopK final : public Codec {
 public:
  TopK(int64_t block, double share)
      : Codec("top_k", block, kEntry * kept_of(share, block)), share_(share) {}

 private:
  static int64_t kept_of(double share, int64_t values) {
    return static_cast<int64_t>(std::ceil(share * static_cast<double>(values)));
  }
  int64_t bytes_of_block(int64_t values) const override { return kEntry * kept_of(share_, values); }
  void encode_blocks(const float* values, int64_t count, std::byte* encoded) const override {
    for (int64_t begin = 0; begin < count; begin += block_values()) {
      const int64_t size = std::min(block_values(), count - begin), k = kept_of(share_, size);
      encode_top_k(values + begin, size, k, encoded);
      encoded += kEntry * k;
    }
  }
  void decode_blocks(const std::byte* encoded, int64_t blocks, float* out) const override {
    for (int64_t b = 0; b < blocks; ++b, encoded += block_bytes(), out += block_values()) {
      decode_part({encoded, static_cast<size_t>(block_bytes())}, 0,
                  {out, static_cast<size_t>(block_values())});
    }
  }
  void decode_part(std::span<const std::byte> block, int64_t at,
                   std::span<float> out) const override {
    const int64_t k = std::ssize(block) / kEntry;
    if (k == 0) return fill_missing(out);
    std::ranges::fill(out, 0.0f);
    const auto index_of = [&](int64_t i) { return load<uint16_t>(block.data() + 2 * i) - at; };
    int64_t i = 0;  // the first whose index is not before `at`
    for (int64_t size = k; size > 0;) {
      const int64_t half = size / 2;
      const bool before = index_of(i + half) < 0;
      i += before ? half + 1 : 0;
      size = before ? size - half - 1 : half;
    }
    for (; i < k; ++i) {
      const int64_t index = index_of(i);
      if (index < 0 || index >= std::ssize(out)) break;
      out[index] = load<float>(block.data() + 2 * k + 4 * i);
    }
  }
  std::optional<Flaw> find_flaw(const std::byte* encoded, int64_t count) const override {
    for (int64_t begin = 0, b = 0; begin < count; begin += block_values(), ++b) {
      const int64_t size = std::min(block_values(), count - begin), k = kept_of(share_, size);
      int64_t least = 0;  // of the next index
      for (int64_t i = 0; i < k; ++i) {
        const int64_t index = load<uint16_t>(encoded + 2 * i);
        if (index < least || index >= size) {
          return Flaw{b, cat("got index ", index, ", want one in [", least, ", ", size,
                             "); indices increase")};
        }
        least = index + 1;
      }
      encoded += kEntry * k;
    }
    return std::nullopt;
  }

  double share_;  // of the values that are kept
};

}  // namespace

extern const CodecEntry kTopKEntry = {
    {"top_k",
     "the largest values of every block as they are, zeros for the others",
     "y = x where |x| is among the ceil(share*n) largest of its block, else 0",
     "arXiv:1704.05021; with error feedback arXiv:1809.07599, arXiv:2508.15706",
     {real_option("share", 0.01, 1e-4, 1, "1", "of the values of a block that are kept"),
      block_option(4096, "values that are ranked together")}},
    [](const Options& options) -> StatusOr<std::unique_ptr<const Codec>> {
      return std::make_unique<TopK>(options.integer("block"), options.real("share"));
    }};

}  // namespace rubato

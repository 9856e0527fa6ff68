#include "rubato/schedule/permutation.h"

#include <bit>

#include "rubato/base/rng.h"
#include "rubato/base/status.h"

namespace rubato {

int64_t permuted_index(uint64_t seed, ShardId shard, int64_t epoch, int64_t position,
                       int64_t size) {
  RUBATO_CHECK(position >= 0 && position < size, "position ", position, " of ", size);
  if (size == 1) return 0;
  // The domain is the next power of four: two equal halves. On average fewer than four walks come
  // back inside.
  const int bits = static_cast<int>(std::bit_width(static_cast<uint64_t>(size - 1)) + 1) / 2;
  const uint64_t half_mask = (uint64_t{1} << bits) - 1;
  const uint64_t stream = mix_bits(seed, static_cast<uint64_t>(RngStream::kPermutation), 0);
  const uint64_t key =
      mix_bits(stream, static_cast<uint64_t>(shard.value()), static_cast<uint64_t>(epoch));
  uint64_t x = static_cast<uint64_t>(position);
  do {
    uint64_t left = x >> bits, right = x & half_mask;
    for (uint64_t round = 0; round < 4; ++round) {
      const uint64_t next = left ^ (mix_bits(key, round, right) & half_mask);
      left = right;
      right = next;
    }
    x = (left << bits) | right;
  } while (x >= static_cast<uint64_t>(size));
  return static_cast<int64_t>(x);
}

}  // namespace rubato

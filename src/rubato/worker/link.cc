#include "rubato/worker/link.h"

#include <algorithm>

#include "rubato/base/int128.h"

namespace rubato {

Nanos busy_time(int64_t bytes, std::optional<int64_t> bytes_per_s) {
  if (!bytes_per_s) return 0;
  const Int128 exact =
      (static_cast<Int128>(bytes) * kNanosPerSecond + *bytes_per_s - 1) / *bytes_per_s;
  return static_cast<Nanos>(std::min<Int128>(exact, kLongestTime));
}

Payload payload_of(const Codec& up, const Codec& down, int64_t num_params) {
  return {.down_bytes = down.encoded_bytes(num_params), .up_bytes = up.encoded_bytes(num_params)};
}

}  // namespace rubato

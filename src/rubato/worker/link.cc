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

int64_t params_bytes(int64_t num_params) {
  return num_params * static_cast<int64_t>(sizeof(float));
}

int64_t delta_bytes(int64_t num_params) { return num_params * static_cast<int64_t>(sizeof(float)); }

}  // namespace rubato

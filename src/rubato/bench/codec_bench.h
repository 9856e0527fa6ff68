// How fast codecs work, beside what memory allows: the limit of encoding and decoding is a kernel
// that reads and writes the same bytes and computes nothing; folding an encoded delta in is held
// against the same outer rule on plain floats. All on the same threads, timed in turns.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "rubato/base/parallel.h"
#include "rubato/base/status.h"

namespace rubato {

struct CodecBenchRow {
  std::string name;           // the codec, with default options
  std::string work;           // encode, decode, or update: decoded block by block by nesterov
  double bits_per_value = 0;  // [bit] of the encoding
  double gb_per_s = 0;        // [1e9 bytes of fp32 values per second]
  double limit_gb_per_s = 0;  // the same for the limit; of an update: nesterov on plain floats
  double share_of_limit = 0;  // gb_per_s / limit_gb_per_s
};

/// Three rows for every registered codec and `num_params` >= 1 normally distributed values. Each
/// figure is the best of `repeats` >= 1. Takes up to 20 bytes of memory per parameter; about 3 s
/// with 16e6 and 5 repeats on two threads.
StatusOr<std::vector<CodecBenchRow>> bench_codec(int64_t num_params, int repeats, ThreadPool& pool);

}  // namespace rubato

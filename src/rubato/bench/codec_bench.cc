#include "rubato/bench/codec_bench.h"

#include <algorithm>
#include <limits>

#include "rubato/base/multiversion.h"
#include "rubato/base/rng.h"
#include "rubato/bench/timing.h"
#include "rubato/outer/chain.h"
#include "rubato/server/encoded_delta.h"

namespace rubato {
namespace {

constexpr int64_t kJobFloats = 1 << 16;

// The limit: reads one stream, writes another, a little of each in turns as a codec does. Sixteen
// sums, so that reading is not limited by the latency of one.
RUBATO_MULTIVERSION void copy_streams(const float* __restrict in, int64_t in_words,
                                      float* __restrict out, int64_t out_words) {
  constexpr int64_t kTurns = 64;
  for (int64_t turn = 0; turn < kTurns; ++turn) {
    float sums[16] = {};
    const int64_t end = in_words * (turn + 1) / kTurns;
    for (int64_t i = in_words * turn / kTurns; i + 16 <= end; i += 16) {
      for (int64_t lane = 0; lane < 16; ++lane) sums[lane] += in[i + lane];
    }
    float total = 0;
    for (const float sum : sums) total += sum;
    for (int64_t i = out_words * turn / kTurns; i < out_words * (turn + 1) / kTurns; ++i) {
      out[i] = total;
    }
  }
}

double seconds_of(const auto& work) {
  const double begin = now_s();
  work();
  return now_s() - begin;
}

// Best times of two things done in turns, each once before it counts.
std::pair<double, double> best_of(int repeats, const auto& work, const auto& limit) {
  work();
  limit();
  double work_s = std::numeric_limits<double>::max(), limit_s = work_s;
  for (int i = 0; i < repeats; ++i) {
    work_s = std::min(work_s, seconds_of(work));
    limit_s = std::min(limit_s, seconds_of(limit));
  }
  return {work_s, limit_s};
}

// One codec over one set of values.
class CodecBench {
 public:
  CodecBench(const Codec& codec, const std::vector<float>& values, int repeats, ThreadPool& pool)
      : codec_(codec),
        values_(values),
        decoded_(values.size()),
        encoded_(static_cast<size_t>(codec.encoded_bytes(std::ssize(values)))),
        copied_(encoded_.size() / sizeof(float) + 1),
        repeats_(repeats),
        pool_(pool) {}

  CodecBenchRow encode() {
    const auto encode_job = [&](int64_t begin, int64_t end, int64_t at, int64_t bytes) {
      codec_.encode(std::span(values_).subspan(begin, end - begin),
                    std::span(encoded_).subspan(at, bytes));
    };
    const auto copy_job = [&](int64_t begin, int64_t end, int64_t at, int64_t bytes) {
      copy_streams(values_.data() + begin, end - begin, copied_.data() + at / 4, bytes / 4);
    };
    return row("encode",
               best_of(
                   repeats_, [&] { for_each_job(encode_job); }, [&] { for_each_job(copy_job); }));
  }

  CodecBenchRow decode() {
    const auto decode_job = [&](int64_t begin, int64_t end, int64_t, int64_t) {
      codec_.decode(encoded_, begin, std::span(decoded_).subspan(begin, end - begin));
    };
    const auto copy_job = [&](int64_t begin, int64_t end, int64_t at, int64_t bytes) {
      copy_streams(copied_.data() + at / 4, bytes / 4, decoded_.data() + begin, end - begin);
    };
    return row("decode",
               best_of(
                   repeats_, [&] { for_each_job(decode_job); }, [&] { for_each_job(copy_job); }));
  }

  CodecBenchRow update(OuterChain& chain, std::span<float> theta) {
    const EncodedDelta encoded(codec_, encoded_, std::ssize(values_));
    const PlainDelta plain(values_);
    return row("update", best_of(
                             repeats_, [&] { chain.apply(encoded, {}, {}, theta, &pool_); },
                             [&] { chain.apply(plain, {}, {}, theta, &pool_); }));
  }

 private:
  // job(first value, its end, first byte, bytes), cut at block borders.
  void for_each_job(const auto& job) {
    const int64_t blocks = std::max<int64_t>(kJobFloats / codec_.block_values(), 1);
    const int64_t values = blocks * codec_.block_values(), size = std::ssize(values_);
    pool_.for_each((size + values - 1) / values, [&](int64_t i) {
      const int64_t begin = i * values, end = std::min(begin + values, size);
      job(begin, end, i * blocks * codec_.block_bytes(), codec_.encoded_bytes(end - begin));
    });
  }

  CodecBenchRow row(std::string work, std::pair<double, double> best_s) const {
    const auto count = static_cast<double>(values_.size());
    const auto [work_s, limit_s] = best_s;
    return {codec_.name(),
            std::move(work),
            8 * static_cast<double>(encoded_.size()) / count,
            4e-9 * count / work_s,
            4e-9 * count / limit_s,
            limit_s / work_s};
  }

  const Codec& codec_;
  const std::vector<float>& values_;
  std::vector<float> decoded_;
  std::vector<std::byte> encoded_;
  std::vector<float> copied_;  // as large as encoded_
  int repeats_;
  ThreadPool& pool_;
};

}  // namespace

StatusOr<std::vector<CodecBenchRow>> bench_codec(int64_t num_params, int repeats,
                                                 ThreadPool& pool) {
  RUBATO_CHECK(num_params >= 1 && repeats >= 1);
  Layout layout;
  layout.add("flat", {num_params}, TensorRole::kMatrix);
  RUBATO_ASSIGN_OR_RETURN(
      auto chain, OuterChain::make({{}, "nesterov", {}}, layout, {.num_params = num_params}));
  std::vector<float> values(static_cast<size_t>(num_params)), theta(values.size());
  Rng rng(1, RngStream::kTest);
  for (float& value : values) value = static_cast<float>(1e-3 * rng.normal());
  std::vector<CodecBenchRow> rows;
  for (const CodecEntry* entry : codec_entries()) {
    RUBATO_ASSIGN_OR_RETURN(const auto codec, make_codec(entry->name));
    CodecBench bench(*codec, values, repeats, pool);
    rows.push_back(bench.encode());
    rows.push_back(bench.decode());
    rows.push_back(bench.update(*chain, theta));
  }
  return rows;
}

}  // namespace rubato

#include "rubato/bench/outer_bench.h"

#include <algorithm>
#include <array>
#include <limits>

#include "rubato/base/multiversion.h"
#include "rubato/bench/timing.h"
#include "rubato/outer/chain.h"

namespace rubato {
namespace {

constexpr int64_t kWorkers = 4;          // k, and so the period of delayed_nesterov and buffer
constexpr int64_t kJobFloats = 1 << 16;  // as large as the chain's own jobs
constexpr int kMaxReads = 3, kMaxWrites = 4;

// Arrays of P floats that one pass over memory touches.
struct Streams {
  int reads = 1;        // read only: the delta, a base, a plane
  int read_writes = 0;  // read and written: theta, a plane
  int writes = 0;       // written without being read: a sum that starts anew; 0 or 1
};
// One update takes one pass, or several one after another; a cycle is a period of updates.
struct Case {
  std::string name;
  ChainSpec spec;
  std::vector<Streams> cycle;
  int updates = 1;  // in the cycle
};

struct Arrays {
  std::array<const float*, kMaxReads> reads;
  std::array<float*, kMaxWrites> writes;  // read_writes first
};

// The body of the limit: one addition or multiplication and addition for each access.
template <int reads, int read_writes, int writes>
inline __attribute__((always_inline)) void pass_body(const float* __restrict r0,
                                                     const float* __restrict r1,
                                                     const float* __restrict r2,
                                                     float* __restrict w0, float* __restrict w1,
                                                     float* __restrict w2, float* __restrict w3,
                                                     int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    float value = r0[i];
    if constexpr (reads > 1) value += r1[i];
    if constexpr (reads > 2) value += r2[i];
    if constexpr (read_writes > 0) w0[i] = 0.5f * w0[i] + value;
    if constexpr (read_writes > 1) w1[i] = 0.5f * w1[i] + value;
    if constexpr (read_writes > 2) w2[i] = 0.5f * w2[i] + value;
    if constexpr (read_writes > 3) w3[i] = 0.5f * w3[i] + value;
    if constexpr (writes > 0 && read_writes == 0) w0[i] = value;
    if constexpr (writes > 0 && read_writes == 1) w1[i] = value;
    if constexpr (writes > 0 && read_writes == 2) w2[i] = value;
    if constexpr (writes > 0 && read_writes == 3) w3[i] = value;
  }
}

// Sixteen sums, so that reading is not limited by the latency of one.
inline __attribute__((always_inline)) float sum_body(const float* x, int64_t begin, int64_t end) {
  float sums[16] = {};
  for (int64_t i = begin; i + 16 <= end; i += 16) {
    for (int64_t lane = 0; lane < 16; ++lane) sums[lane] += x[i + lane];
  }
  float total = 0;
  for (float sum : sums) total += sum;
  return total;
}

constexpr int key_of(const Streams& s) { return 100 * s.reads + 10 * s.read_writes + s.writes; }

#define RUBATO_PASS(key)                                                                          \
  case key:                                                                                       \
    pass_body<(key) / 100, (key) / 10 % 10, (key) % 10>(r[0], r[1], r[2], w[0], w[1], w[2], w[3], \
                                                        begin, end);                              \
    return true

// Runs the kernel whose key_of() is `key` over [begin, end); false when nobody wrote it.
RUBATO_MULTIVERSION bool run_pass(int key, const Arrays& arrays, int64_t begin, int64_t end) {
  const auto& r = arrays.reads;
  const auto& w = arrays.writes;
  switch (key) {
    case 100:  // the sum goes where nobody looks, so that reading is not optimised away
      if (begin < end) w[0][begin] = sum_body(r[0], begin, end);
      return true;
    case 200:
      if (begin < end) w[0][begin] = sum_body(r[0], begin, end) + sum_body(r[1], begin, end);
      return true;
      RUBATO_PASS(101);
      RUBATO_PASS(110);
      RUBATO_PASS(111);
      RUBATO_PASS(120);
      RUBATO_PASS(130);
      RUBATO_PASS(140);
      RUBATO_PASS(210);
      RUBATO_PASS(211);
      RUBATO_PASS(220);
      RUBATO_PASS(230);
      RUBATO_PASS(240);
      RUBATO_PASS(310);
      RUBATO_PASS(320);
    default:
      return false;
  }
}
#undef RUBATO_PASS

// What an update must touch: delta, theta, every plane; a base and a pass for the norm on demand.
StatusOr<std::vector<Streams>> streams_of(const ChainSpec& spec) {
  Layout layout;
  layout.add("probe", {1}, TensorRole::kMatrix);
  RUBATO_ASSIGN_OR_RETURN(auto chain, OuterChain::make(spec, layout, {kWorkers, 1}));
  PlaneFloatCounter counter;  // of a model of one parameter: its planes
  chain->walk_state(counter);
  std::vector<Streams> passes;
  if (chain->needs().delta_norm) passes.push_back({.reads = 1});
  if (chain->needs().momentum) passes.push_back({.reads = 2});
  passes.push_back({.reads = chain->needs().task_base ? 2 : 1,
                    .read_writes = 1 + static_cast<int>(counter.floats)});
  return passes;
}

// Rules whose arrivals differ say here what each of a period touches (their banners explain it);
// every other rule's streams follow from its needs and planes.
StatusOr<std::vector<Case>> all_cases() {
  const Streams milestone{.reads = 2, .read_writes = 2};   // delta, sum; theta, m
  const Streams collecting{.reads = 1, .read_writes = 2};  // delta; theta, sum
  const Streams spreading{.reads = 2, .read_writes = 2};   // delta, m; theta, sum
  std::vector<Case> cases;
  for (const OuterEntry* entry : outer_entries()) {
    const bool link = entry->kind == StageKind::kLink;
    const std::string behind = entry->name == "heloco" ? "momentum" : "sgd";  // it wants some
    Case c{link ? cat(entry->name, " > ", behind) : entry->name, {}, {}};
    c.spec.rule = link ? behind : entry->name;
    if (link) c.spec.links = {entry->name};
    if (entry->name == "buffer") {
      c.updates = kWorkers;
      c.cycle = {
          {.writes = 1}, {.read_writes = 1}, {.read_writes = 1}, {.reads = 2, .read_writes = 1}};
    } else if (entry->name == "delayed_nesterov") {
      c.updates = kWorkers;
      c.cycle = {{.read_writes = 1, .writes = 1}, collecting, collecting, milestone};
      Case spread = c;
      spread.name = cat(c.name, " c=0.1");
      spread.spec.options[entry->name] = {{"c", 0.1}};
      spread.cycle = {{.reads = 2, .read_writes = 1, .writes = 1}, spreading, spreading, milestone};
      cases.push_back(std::move(spread));
    } else {
      RUBATO_ASSIGN_OR_RETURN(c.cycle, streams_of(c.spec));
    }
    cases.push_back(std::move(c));
  }
  return cases;
}

double seconds_of(const auto& work) {
  const double begin = now_s();
  work();
  return now_s() - begin;
}

// delta and base are read, the others written; the rule's theta is the first of those.
struct Memory {
  explicit Memory(int64_t num_params) {
    for (auto& array : reads) array.assign(static_cast<size_t>(num_params), 1e-3f);
    for (auto& array : writes) array.assign(static_cast<size_t>(num_params), 1e-2f);
  }
  std::array<std::vector<float>, kMaxReads> reads;
  std::array<std::vector<float>, kMaxWrites> writes;
};

void run_limit(const std::vector<Streams>& cycle, Memory& memory, ThreadPool& pool) {
  const auto size = static_cast<int64_t>(memory.reads[0].size());
  Arrays arrays;
  for (int i = 0; i < kMaxReads; ++i) arrays.reads[i] = memory.reads[i].data();
  for (int i = 0; i < kMaxWrites; ++i) arrays.writes[i] = memory.writes[i].data();
  for (const Streams& streams : cycle) {
    pool.for_each((size + kJobFloats - 1) / kJobFloats, [&](int64_t job) {
      run_pass(key_of(streams), arrays, job * kJobFloats, std::min(size, (job + 1) * kJobFloats));
    });
  }
}

}  // namespace

StatusOr<std::vector<OuterBenchRow>> bench_outer(int64_t num_params, int repeats,
                                                 ThreadPool& pool) {
  RUBATO_CHECK(num_params >= 1 && repeats >= 1);
  Layout layout;
  layout.add("flat", {num_params}, TensorRole::kMatrix);
  Memory memory(num_params);
  std::vector<OuterBenchRow> rows;
  RUBATO_ASSIGN_OR_RETURN(const std::vector<Case> cases, all_cases());
  for (const Case& c : cases) {
    for (const Streams& streams : c.cycle) {
      if (!run_pass(key_of(streams), Arrays{}, 0, 0)) {
        return absl::UnimplementedError(
            cat("[bench outer] ", c.name, ": got ", streams.reads, " reads, ", streams.read_writes,
                " read-writes, ", streams.writes, " writes, want a limit kernel for them; ",
                "add it to run_pass"));
      }
    }
    RUBATO_ASSIGN_OR_RETURN(auto chain, OuterChain::make(c.spec, layout, {kWorkers, num_params}));
    const UpdateFacts facts{.staleness = 3, .tokens = 1, .steps = 1};  // stale: discounts do work
    const auto run_rule = [&] {
      for (int i = 0; i < c.updates; ++i) {
        chain->apply(PlainDelta(memory.reads[0]), memory.reads[1], facts, memory.writes[0], &pool);
      }
    };
    run_rule();  // touches the rule's planes for the first time
    double rule_s = std::numeric_limits<double>::max(), limit_s = rule_s;
    for (int i = 0; i < repeats; ++i) {
      rule_s = std::min(rule_s, seconds_of(run_rule));
      limit_s = std::min(limit_s, seconds_of([&] { run_limit(c.cycle, memory, pool); }));
    }
    const double gb = 4e-9 * static_cast<double>(num_params) * c.updates;
    rows.push_back({c.name, gb / rule_s, gb / limit_s, limit_s / rule_s});
  }
  return rows;
}

}  // namespace rubato

// rubato bench [NAME..]: every figure beside the limit measured in the same run.
#include <algorithm>
#include <array>
#include <memory>
#include <ostream>
#include <thread>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "rubato/app/program.h"
#include "rubato/bench/engine_bench.h"
#include "rubato/bench/outer_bench.h"
#include "rubato/metrics/format.h"
#include "rubato/metrics/table.h"

namespace rubato {
namespace {

// Large enough that no cache holds a plane: the paper's 20M model has about as many parameters.
constexpr int64_t kOuterParams = 16'000'000;
constexpr int kOuterRepeats = 5;

struct BenchFlags {
  std::vector<std::string> names;
  int threads = 0;
  double seconds = 3;
  bool json = false;
};

struct BenchResult {
  Table table;
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
};

StatusOr<BenchResult> engine(const BenchFlags& flags, int threads) {
  RUBATO_ASSIGN_OR_RETURN(const InnerEntry* entry,
                          find_entry("bench", "inner optimizer", inner_entries(), "adamw"));
  RUBATO_ASSIGN_OR_RETURN(const Options options, Options::resolve("adamw", entry->options, {}));
  RUBATO_ASSIGN_OR_RETURN(const auto optimizer, entry->make(options));
  RUBATO_ASSIGN_OR_RETURN(
      const auto rows, bench_engine(engine_bench_shapes(), *optimizer, {threads, flags.seconds}));
  BenchResult result;
  result.table.columns = {{"engine", "", "shape of the model"},
                          {"tokens", "1/s", "of the median training step"},
                          {"speed", "GFLOP/s", "6 N_matmul + 6 L H E (T + 1) a token"},
                          {"FMA peak", "GFLOP/s", "register-only loop, before and after"},
                          {"share", "1", "speed / peak"},
                          {"disturbed", "1", "change of the peak during the run"}};
  for (const EngineRow& row : rows) {
    result.table.rows.push_back({row.name, fixed(row.tokens_per_s, 0), fixed(row.gflops, 0),
                                 fixed(row.peak_gflops, 0), fixed(row.share_of_peak, 3),
                                 fixed(row.peak_change, 3)});
    result.rows.push_back({{"bench", "engine"},
                           {"shape", row.name},
                           {"threads", row.threads},
                           {"tokens_per_s", row.tokens_per_s},
                           {"gflops", row.gflops},
                           {"peak_gflops", row.peak_gflops},
                           {"peak_change", row.peak_change},
                           {"step_ms_median", row.step_ms_median},
                           {"step_ms_best", row.step_ms_best},
                           {"share_of_peak", row.share_of_peak}});
  }
  return result;
}

StatusOr<BenchResult> outer(const BenchFlags&, int threads) {
  ThreadPool pool(threads);
  RUBATO_ASSIGN_OR_RETURN(const auto rows, bench_outer(kOuterParams, kOuterRepeats, pool));
  BenchResult result;
  result.table.columns = {{"outer rule", "", "links in front of sgd"},
                          {"speed", "GB/s", "of pseudo-gradient folded in"},
                          {"limit", "GB/s", "in-place kernel with the same streams"},
                          {"share", "1", "speed / limit"}};
  for (const OuterBenchRow& row : rows) {
    result.table.rows.push_back({row.name, fixed(row.gb_per_s, 2), fixed(row.limit_gb_per_s, 2),
                                 fixed(row.share_of_limit, 3)});
    result.rows.push_back({{"bench", "outer"},
                           {"name", row.name},
                           {"threads", threads},
                           {"gb_per_s", row.gb_per_s},
                           {"limit_gb_per_s", row.limit_gb_per_s},
                           {"share_of_limit", row.share_of_limit}});
  }
  return result;
}

struct Bench {
  std::string name;
  StatusOr<BenchResult> (*run)(const BenchFlags&, int threads);
};
const std::array<Bench, 2> kBenches = {{{"engine", engine}, {"outer", outer}}};

StatusOr<int> bench(const BenchFlags& flags, Terminal& terminal) {
  const int threads = flags.threads > 0
                          ? flags.threads
                          : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const Bench& which : kBenches) {
    if (!flags.names.empty() && std::ranges::find(flags.names, which.name) == flags.names.end()) {
      continue;
    }
    RUBATO_ASSIGN_OR_RETURN(BenchResult result, which.run(flags, threads));
    terminal.out << to_plain_text(result.table) << std::endl;
    for (auto& row : result.rows) rows.push_back(std::move(row));
  }
  if (flags.json) terminal.out << nlohmann::ordered_json{{"rows", rows}}.dump() << "\n";
  return kExitOk;
}

}  // namespace

void add_bench(CLI::App& app, CommandBody& chosen) {
  auto flags = std::make_shared<BenchFlags>();
  CLI::App* command =
      app.add_subcommand("bench", "speed of the parts, each beside the limit of the same run");
  std::vector<std::string> names;
  for (const Bench& which : kBenches) names.push_back(which.name);
  command->add_option("names", flags->names, "default: all")->check(CLI::IsMember(names));
  command->add_option("--threads", flags->threads, "0: all cores")->check(CLI::Range(0, 1024));
  command->add_option("--seconds", flags->seconds, "of measured steps for each engine shape")
      ->check(CLI::Range(0.1, 3600.0))
      ->capture_default_str();
  command->add_flag("--json", flags->json, "one JSON object as the last line");
  command->footer("Example:\n  rubato bench engine --seconds 10 --json");
  command->callback([flags, &chosen] {
    chosen = [flags](Terminal& terminal) { return bench(*flags, terminal); };
  });
}

}  // namespace rubato

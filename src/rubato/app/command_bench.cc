// rubato bench [NAME..]: every figure beside the limit measured in the same run.
#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>
#include <ostream>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "rubato/app/command_support.h"
#include "rubato/bench/codec_bench.h"
#include "rubato/bench/engine_bench.h"
#include "rubato/bench/exchange_bench.h"
#include "rubato/bench/generation_bench.h"
#include "rubato/bench/outer_bench.h"
#include "rubato/bench/peers_bench.h"
#include "rubato/bench/plan_bench.h"
#include "rubato/bench/simulator_bench.h"
#include "rubato/lm/step_profile.h"
#include "rubato/metrics/format.h"
#include "rubato/metrics/table.h"

namespace rubato {
namespace {

// Large enough that no cache holds a plane: the paper's 20M model has about as many parameters.
constexpr int64_t kMemoryBoundParams = 16'000'000;
constexpr int kMemoryBoundRepeats = 5;

struct BenchFlags {
  std::vector<std::string> names;
  std::vector<std::string> shapes;  // of the model; empty: the default
  std::vector<std::string> products = {"fp32"};
  int threads = 0;
  double seconds = 3;
  std::string llm_c, python;
  std::vector<int64_t> million_params = {34};
  std::vector<int> workers = {1, 8};
  std::string directory;  // "": the system's for temporary files
  bool json = false;
};

struct BenchResult {
  std::vector<Table> tables;
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
};

StatusOr<std::shared_ptr<const InnerOptimizer>> adamw() {
  RUBATO_ASSIGN_OR_RETURN(const InnerEntry* entry,
                          find_entry("bench", "inner optimizer", inner_entries(), "adamw"));
  RUBATO_ASSIGN_OR_RETURN(const Options options, Options::resolve("adamw", entry->options, {}));
  return entry->make(options);
}

// Those that were named, else all.
std::vector<EngineShape> chosen_shapes(const BenchFlags& flags) {
  std::vector<EngineShape> shapes = engine_bench_shapes();
  std::erase_if(shapes, [&](const EngineShape& shape) {
    return !flags.shapes.empty() &&
           std::ranges::find(flags.shapes, shape.name) == flags.shapes.end();
  });
  return shapes;
}

std::vector<Products> chosen_products(const BenchFlags& flags) {
  std::vector<Products> chosen;
  for (const std::string& name : flags.products) {
    chosen.push_back(
        static_cast<Products>(std::ranges::find(kProductsNames, name) - kProductsNames.begin()));
  }
  return chosen;
}

StatusOr<BenchResult> engine(const BenchFlags& flags, int threads) {
  RUBATO_ASSIGN_OR_RETURN(auto optimizer, adamw());
  const std::vector<EngineShape> shapes = chosen_shapes(flags);
  std::vector<EngineRow> rows;
  for (const EngineShape& shape : shapes) {
    for (const Products products : chosen_products(flags)) {
      RUBATO_ASSIGN_OR_RETURN(
          auto some, bench_engine({&shape, 1}, optimizer, {threads, flags.seconds, products}));
      rows.push_back(std::move(some.front()));
    }
  }
  BenchResult result;
  Table speed, parts;
  speed.columns = {{"engine", "", "shape of the model"},
                   {"products", "", "operands of matrix products"},
                   {"tokens", "1/s", "of the median training step"},
                   {"speed", "GFLOP/s", "6 N_matmul + 6 L H E (T + 1) a token"},
                   {"FMA peak", "GFLOP/s", "register-only loop in fp32, before and after"},
                   {"share", "1", "speed / peak"},
                   {"disturbed", "1", "change of the peak during the run"},
                   {"steps", "1", "measured"},
                   {"memory", "MB", "engine, parameters and optimizer state"}};
  parts.columns = {{"ms a step", "", "of each thread, by part"}, {"products", "", ""}};
  for (const std::string_view name : kStepPartNames)
    parts.columns.push_back({std::string(name), "ms", ""});
  parts.columns.push_back({"whole step", "ms", "waiting and starting included"});
  for (const EngineRow& row : rows) {
    const std::string products(kProductsNames[static_cast<size_t>(row.products)]);
    speed.rows.push_back({row.name, products, fixed(row.tokens_per_s, 0), fixed(row.gflops, 0),
                          fixed(row.peak_gflops, 0), fixed(row.share_of_peak, 3),
                          fixed(row.peak_change, 3), cat(row.steps),
                          fixed(static_cast<double>(row.memory_bytes) / 1e6, 0)});
    std::vector<std::string> cells = {row.name, products};
    for (const double ms : row.part_ms) cells.push_back(fixed(ms, 2));
    cells.push_back(fixed(row.step_ms_median, 2));
    parts.rows.push_back(std::move(cells));
    nlohmann::ordered_json part_ms;
    for (size_t i = 0; i < row.part_ms.size(); ++i) part_ms[kStepPartNames[i]] = row.part_ms[i];
    result.rows.push_back({{"bench", "engine"},
                           {"shape", row.name},
                           {"products", products},
                           {"threads", row.threads},
                           {"tokens_per_s", row.tokens_per_s},
                           {"gflops", row.gflops},
                           {"peak_gflops", row.peak_gflops},
                           {"peak_change", row.peak_change},
                           {"step_ms_median", row.step_ms_median},
                           {"step_ms_best", row.step_ms_best},
                           {"share_of_peak", row.share_of_peak},
                           {"steps", row.steps},
                           {"memory_bytes", row.memory_bytes},
                           {"part_ms", part_ms}});
  }
  result.tables = {std::move(speed), std::move(parts)};
  return result;
}

StatusOr<BenchResult> generation(const BenchFlags& flags, int threads) {
  RUBATO_ASSIGN_OR_RETURN(
      const auto rows,
      bench_generation(chosen_shapes(flags), {.threads = threads, .seconds = flags.seconds}));
  BenchResult result;
  Table table;
  table.columns = {{"generation", "", "shape of the model"},
                   {"tokens", "1/s", "of the median token, half the context and more before it"},
                   {"full passes", "1/s", "over half the context: what kept keys and values save"},
                   {"speed", "GB/s", "of parameters read"},
                   {"limit", "GB/s", "a sum over as many floats on the same threads"},
                   {"share", "1", "speed / limit"}};
  for (const GenerationRow& row : rows) {
    table.rows.push_back({row.shape, fixed(row.tokens_per_s, 0), fixed(row.full_pass_per_s, 1),
                          fixed(row.gb_per_s, 1), fixed(row.limit_gb_per_s, 1),
                          fixed(row.share_of_limit, 3)});
    result.rows.push_back({{"bench", "generation"},
                           {"shape", row.shape},
                           {"threads", row.threads},
                           {"tokens_per_s", row.tokens_per_s},
                           {"full_passes_per_s", row.full_pass_per_s},
                           {"gb_per_s", row.gb_per_s},
                           {"limit_gb_per_s", row.limit_gb_per_s},
                           {"share_of_limit", row.share_of_limit}});
  }
  result.tables = {std::move(table)};
  return result;
}

StatusOr<BenchResult> outer(const BenchFlags&, int threads) {
  ThreadPool pool(threads);
  RUBATO_ASSIGN_OR_RETURN(const auto rows,
                          bench_outer(kMemoryBoundParams, kMemoryBoundRepeats, pool));
  BenchResult result;
  Table table;
  table.columns = {{"outer rule", "", "links in front of sgd"},
                   {"speed", "GB/s", "of pseudo-gradient folded in"},
                   {"limit", "GB/s", "in-place kernel with the same streams"},
                   {"share", "1", "speed / limit"}};
  for (const OuterBenchRow& row : rows) {
    table.rows.push_back({row.name, fixed(row.gb_per_s, 2), fixed(row.limit_gb_per_s, 2),
                          fixed(row.share_of_limit, 3)});
    result.rows.push_back({{"bench", "outer"},
                           {"name", row.name},
                           {"threads", threads},
                           {"gb_per_s", row.gb_per_s},
                           {"limit_gb_per_s", row.limit_gb_per_s},
                           {"share_of_limit", row.share_of_limit}});
  }
  result.tables = {std::move(table)};
  return result;
}

StatusOr<BenchResult> codec(const BenchFlags&, int threads) {
  ThreadPool pool(threads);
  RUBATO_ASSIGN_OR_RETURN(const auto rows,
                          bench_codec(kMemoryBoundParams, kMemoryBoundRepeats, pool));
  BenchResult result;
  Table table;
  table.columns = {{"codec", "", "with default options"},
                   {"work", "", "update: decoded block by block while nesterov folds it in"},
                   {"size", "bit", "of a value"},
                   {"speed", "GB/s", "of fp32 values"},
                   {"limit", "GB/s", "reads and writes the same bytes; update: nesterov on fp32"},
                   {"share", "1", "speed / limit"}};
  for (const CodecBenchRow& row : rows) {
    table.rows.push_back({row.name, row.work, fixed(row.bits_per_value, 2), fixed(row.gb_per_s, 2),
                          fixed(row.limit_gb_per_s, 2), fixed(row.share_of_limit, 3)});
    result.rows.push_back({{"bench", "codec"},
                           {"name", row.name},
                           {"work", row.work},
                           {"threads", threads},
                           {"bits_per_value", row.bits_per_value},
                           {"gb_per_s", row.gb_per_s},
                           {"limit_gb_per_s", row.limit_gb_per_s},
                           {"share_of_limit", row.share_of_limit}});
  }
  result.tables = {std::move(table)};
  return result;
}

StatusOr<BenchResult> exchange(const BenchFlags& flags, int) {
  ExchangeBenchOptions options;
  options.params.clear();
  for (const int64_t millions : flags.million_params)
    options.params.push_back(millions * 1'000'000);
  options.workers = flags.workers;
  std::ranges::sort(options.workers);
  options.seconds = flags.seconds;
  options.directory =
      flags.directory.empty() ? std::filesystem::temp_directory_path().string() : flags.directory;
  options.now_unix_s = unix_now_s();
  RUBATO_ASSIGN_OR_RETURN(const auto rows, bench_exchange(options));
  BenchResult result;
  Table table;
  table.columns = {{"exchange", "", "over loopback, all workers at the same time"},
                   {"codec", "", ""},
                   {"TLS", "", ""},
                   {"parameters", "1e6", ""},
                   {"workers", "", ""},
                   {"speed", "MB/s", "of encoded bytes, all workers together"},
                   {"limit", "MB/s", "a bare gRPC stream of the same bytes, TLS likewise"},
                   {"TCP", "MB/s", "the same bytes without TLS or frames"},
                   {"share", "1", "speed / limit, median of rounds in turns"},
                   {"least", "1", ""},
                   {"most", "1", ""},
                   {"CPU", "ms/MB", "that both ends compute"},
                   {"its CPU", "ms/MB", "the same for the limit"},
                   {"settling", "ms", "of a push: fsync, journal, outer update, publishing"},
                   {"memory", "MB", "private to the server's process"},
                   {"state", "MB", "of which theta and outer state"}};
  for (const ExchangeRow& row : rows) {
    table.rows.push_back({row.name, row.codec, row.tls ? "yes" : "no",
                          fixed(static_cast<double>(row.num_params) * 1e-6, 0), cat(row.workers),
                          fixed(row.mb_per_s, 0), fixed(row.limit_mb_per_s, 0),
                          fixed(row.tcp_mb_per_s, 0), fixed(row.share_of_limit, 3),
                          fixed(row.share_least, 3), fixed(row.share_most, 3),
                          fixed(row.cpu_ms_per_mb, 2), fixed(row.limit_cpu_ms_per_mb, 2),
                          row.name == "push" ? fixed(row.settle_ms, 0) : "-",
                          fixed(static_cast<double>(row.server_memory_bytes) * 1e-6, 0),
                          fixed(static_cast<double>(row.state_bytes) * 1e-6, 0)});
    result.rows.push_back({{"bench", "exchange"},
                           {"name", row.name},
                           {"codec", row.codec},
                           {"tls", row.tls},
                           {"params", row.num_params},
                           {"workers", row.workers},
                           {"mb_per_s", row.mb_per_s},
                           {"limit_mb_per_s", row.limit_mb_per_s},
                           {"tcp_mb_per_s", row.tcp_mb_per_s},
                           {"share_of_limit", row.share_of_limit},
                           {"share_least", row.share_least},
                           {"share_most", row.share_most},
                           {"cpu_ms_per_mb", row.cpu_ms_per_mb},
                           {"limit_cpu_ms_per_mb", row.limit_cpu_ms_per_mb},
                           {"settle_ms", row.settle_ms},
                           {"server_memory_bytes", row.server_memory_bytes},
                           {"state_bytes", row.state_bytes}});
  }
  result.tables = {std::move(table)};
  return result;
}

StatusOr<BenchResult> simulator(const BenchFlags& flags, int threads) {
  RUBATO_ASSIGN_OR_RETURN(const auto optimizer, adamw());
  BenchResult result;
  Table table;
  table.columns = {{"simulated fleet", "", "unequal: the toy's speeds and four like them"},
                   {"shape", "", "of the model"},
                   {"tokens", "1/s", "of all local steps made"},
                   {"limit", "1/s", "one trainer with all threads, nobody to coordinate"},
                   {"share", "1", "median of three rounds in turns"},
                   {"least", "1", ""},
                   {"most", "1", ""},
                   {"unused", "1", "steps begun before the end of the run and not needed"}};
  for (const EngineShape& shape : engine_bench_shapes()) {
    const std::vector<std::string> wanted =
        flags.shapes.empty() ? std::vector<std::string>{"a", "demo"} : flags.shapes;
    if (std::ranges::find(wanted, shape.name) == wanted.end()) continue;
    RUBATO_ASSIGN_OR_RETURN(const auto rows,
                            bench_simulator(shape, optimizer, threads, flags.seconds));
    for (const SimulatorRow& row : rows) {
      table.rows.push_back({row.name, row.shape, fixed(row.tokens_per_s, 0),
                            fixed(row.limit_tokens_per_s, 0), fixed(row.share_of_limit, 3),
                            fixed(row.share_least, 3), fixed(row.share_most, 3),
                            fixed(row.unused, 3)});
      result.rows.push_back({{"bench", "simulator"},
                             {"name", row.name},
                             {"shape", row.shape},
                             {"threads", row.threads},
                             {"tokens_per_s", row.tokens_per_s},
                             {"limit_tokens_per_s", row.limit_tokens_per_s},
                             {"share_of_limit", row.share_of_limit},
                             {"share_least", row.share_least},
                             {"share_most", row.share_most},
                             {"unused_steps", row.unused}});
    }
  }
  result.tables = {std::move(table)};
  return result;
}

StatusOr<BenchResult> plan(const BenchFlags& flags, int) {
  RUBATO_ASSIGN_OR_RETURN(const auto rows, bench_plan(flags.seconds));
  BenchResult result;
  Table table;
  table.columns = {{"plan", "", "fleet and method, on one core"},
                   {"dispatches", "1/s", "through the coordinator, without gradients"},
                   {"limit", "1/s", "the same fleet's clockwork, and nobody who decides"},
                   {"share", "1", "median of three rounds in turns"}};
  for (const PlanBenchRow& row : rows) {
    table.rows.push_back({row.name, fixed(row.dispatches_per_s, 0),
                          fixed(row.limit_dispatches_per_s, 0), fixed(row.share_of_limit, 3)});
    result.rows.push_back({{"bench", "plan"},
                           {"name", row.name},
                           {"workers", row.workers},
                           {"dispatches_per_s", row.dispatches_per_s},
                           {"limit_dispatches_per_s", row.limit_dispatches_per_s},
                           {"share_of_limit", row.share_of_limit}});
  }
  result.tables = {std::move(table)};
  return result;
}

StatusOr<BenchResult> peers(const BenchFlags& flags, int threads) {
  BenchResult result;
  Table table;
  table.columns = {{"peer", "", "of the same shape: llm.c with GPT-2 blocks, PyTorch with ours"},
                   {"shape", "", "of the model"},
                   {"its tokens", "1/s", "of the median step"},
                   {"rubato", "1/s", "of the median step, in turns with it"},
                   {"times", "1", "rubato / peer"},
                   {"its settings", "", "the fastest found"}};
  std::vector<EngineShape> shapes = chosen_shapes(flags);
  if (flags.shapes.empty()) {
    std::erase_if(shapes, [](const EngineShape& shape) {
      return shape.name != "a" && shape.name != "a4096" && shape.name != "b";
    });
  }
  RUBATO_ASSIGN_OR_RETURN(const auto optimizer, adamw());
  RUBATO_ASSIGN_OR_RETURN(
      const auto rows,
      bench_peers(shapes, optimizer, {threads, flags.seconds, flags.llm_c, flags.python}));
  for (const PeerRow& row : rows) {
    table.rows.push_back({row.peer, row.shape, fixed(row.peer_tokens_per_s, 0),
                          fixed(row.tokens_per_s, 0), fixed(row.ratio, 2), row.settings});
    result.rows.push_back({{"bench", "peers"},
                           {"name", row.peer},
                           {"shape", row.shape},
                           {"tokens_per_s", row.tokens_per_s},
                           {"peer_tokens_per_s", row.peer_tokens_per_s},
                           {"ratio", row.ratio},
                           {"settings", row.settings}});
  }
  const auto absent = [&](const char* peer, const char* how) {
    table.rows.push_back({peer, "-", "-", "-", "-", how});
    result.rows.push_back({{"bench", "peers"}, {"name", peer}, {"absent", how}});
  };
  if (flags.llm_c.empty()) absent("llm.c", "not run: --llm-c DIR names its source folder");
  if (flags.python.empty()) absent("PyTorch", "not run: --python PATH names a Python that has it");
  result.tables = {std::move(table)};
  return result;
}

struct Bench {
  std::string name;
  StatusOr<BenchResult> (*run)(const BenchFlags&, int threads);
};
const std::array<Bench, 8> kBenches = {{{"engine", engine},
                                        {"generation", generation},
                                        {"outer", outer},
                                        {"codec", codec},
                                        {"exchange", exchange},
                                        {"simulator", simulator},
                                        {"plan", plan},
                                        {"peers", peers}}};

StatusOr<int> bench(const BenchFlags& flags, Terminal& terminal) {
  const int threads = thread_count(flags.threads);
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const Bench& which : kBenches) {
    if (!flags.names.empty() && std::ranges::find(flags.names, which.name) == flags.names.end()) {
      continue;
    }
    RUBATO_ASSIGN_OR_RETURN(BenchResult result, which.run(flags, threads));
    for (const Table& table : result.tables) terminal.out << to_plain_text(table) << std::endl;
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
  std::vector<std::string> shapes;
  for (const EngineShape& shape : engine_bench_shapes()) shapes.push_back(shape.name);
  command
      ->add_option("--shapes", flags->shapes,
                   "of the engine, a,b,c; default: all, for the simulator a,demo, "
                   "for peers a,a4096,b")
      ->delimiter(',')
      ->check(CLI::IsMember(shapes));
  command
      ->add_option("--products", flags->products, "of the engine, one after the other: fp32,bf16")
      ->delimiter(',')
      ->check(CLI::IsMember(std::vector<std::string>(kProductsNames.begin(), kProductsNames.end())))
      ->capture_default_str();
  command->add_option("--threads", flags->threads, "0: all cores")->check(CLI::Range(0, 1024));
  command->add_option("--seconds", flags->seconds, "of measured steps for each shape")
      ->check(number_in(0.1, 3600.0))
      ->capture_default_str();
  command->add_option("--llm-c", flags->llm_c, "peers: folder of llm.c's sources")
      ->check(CLI::ExistingDirectory);
  command->add_option("--python", flags->python, "peers: a Python that has PyTorch")
      ->check(CLI::ExistingFile);
  command->add_option("--params", flags->million_params, "exchange: millions of parameters, 34,124")
      ->delimiter(',')
      ->check(CLI::Range(1, 10'000));
  command->add_option("--workers", flags->workers, "exchange: at the same time, 1,2,4,8")
      ->delimiter(',')
      ->check(CLI::Range(1, 64));
  command->add_option("--dir", flags->directory, "exchange: where its runs are made and removed")
      ->check(CLI::ExistingDirectory);
  command->add_flag("--json", flags->json, "one JSON object as the last line");
  command->footer("Example:\n  rubato bench engine --seconds 10 --json");
  command->callback([flags, &chosen] {
    chosen = [flags](Terminal& terminal) { return bench(*flags, terminal); };
  });
}

}  // namespace rubato

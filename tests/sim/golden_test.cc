// Golden trajectories: where a few methods end on the quadratic workload, kept in
// tests/data/golden/METHOD.json. They notice what no equality forbids: a change of every method at
// once, of the order of events, of a draw. After a wanted change of behaviour run
//   sim_test --rewrite
// and read the difference before it is committed.
//
// Times and counts are compared exactly, floats to 1e-9: elementwise float kernels without
// contraction and sums in double give the same floats with any compiler and processor.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "tests/sim/fixtures.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace rubato {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

const fs::path kDirectory = RUBATO_SOURCE_DIR "/tests/data/golden";
constexpr double kTolerance = 1e-9;  // relative
constexpr size_t kShownParams = 6;

bool rewrite = false;

// Gate, policy, links and rule of a method in the words of the program's own table of methods.
struct Method {
  std::string name, gate, policy;
  std::vector<std::string> links;
  std::string rule;
  double lr;
  friend void PrintTo(const Method& method, std::ostream* out) { *out << method.name; }
};

const std::vector<Method> kMethods = {
    {"sync-diloco", "barrier", "fixed", {}, "nesterov", 0.7},
    {"async-nesterov", "grace", "fixed", {"weight"}, "nesterov", 0.1},
    {"dn", "grace", "fixed", {}, "delayed_nesterov", 0.7},
    {"dn-dylu", "grace", "dylu", {}, "delayed_nesterov", 0.7},
    {"fedbuff", "grace", "fixed", {"buffer"}, "nesterov", 0.5},
    {"async-delay-compensation",
     "grace",
     "fixed",
     {"delay_compensation", "weight"},
     "nesterov",
     0.1},
};

SimulationConfig config_of(const Method& method) {
  SimulationConfig config = toy_config();
  config.coordinator.budget_steps = config.coordinator.schedule_steps = 2000;
  config.sampler = {"deficit", {}};
  config.worker.learning_rate = {.max = 0.02, .min = 0.002, .warmup_steps = 50};
  config.worker.batch_sequences = 2;
  config.gate = {method.gate, {}};
  config.policy = {method.policy, {}};
  config.chain = {method.links, method.rule, {{method.rule, {{"lr", method.lr}}}}};
  return config;
}

Json trajectory(const Method& method) {
  const SimRun run = run_to_end(config_of(method), *quadratic_workload("adamw"));
  Json golden;
  golden["method"] = method.name;
  golden["outer_steps"] = run.counts.version;
  golden["arrivals"] = run.counts.arrivals;
  golden["local_steps"] = run.counts.steps;
  std::vector<int64_t> arrivals_by_staleness;
  for (const UpdateRecord& update : run.log.updates) {
    const auto staleness = static_cast<size_t>(update.staleness);
    if (arrivals_by_staleness.size() <= staleness) arrivals_by_staleness.resize(staleness + 1);
    ++arrivals_by_staleness[staleness];
  }
  golden["arrivals_by_staleness"] = arrivals_by_staleness;
  std::vector<Nanos> times;
  std::vector<double> losses;
  for (const EvalRecord& eval : run.log.evals) {
    times.push_back(eval.virtual_time_ns);
    losses.push_back(eval.loss_nats);
  }
  golden["eval_times_ns"] = times;
  golden["eval_losses_nats"] = losses;
  golden["first_params"] = std::vector<double>(run.theta.begin(), run.theta.begin() + kShownParams);
  return golden;
}

void expect_same(const Json& want, const Json& got, const std::string& where) {
  ASSERT_EQ(want.type_name(), std::string(got.type_name())) << where;
  if (want.is_structured()) {
    ASSERT_EQ(want.size(), got.size()) << where << ": " << want << " and " << got;
    auto other = got.begin();
    for (auto it = want.begin(); it != want.end(); ++it, ++other) {
      const std::string key = want.is_object() ? it.key() : cat(it - want.begin());
      if (want.is_object()) {
        ASSERT_EQ(key, other.key()) << where;
      }
      expect_same(*it, *other, cat(where, ".", key));
    }
  } else if (want.is_number_float()) {
    const double value = want.get<double>();
    EXPECT_NEAR(got.get<double>(), value, kTolerance * std::abs(value)) << where;
  } else {
    EXPECT_EQ(want, got) << where;
  }
}

class Golden : public ::testing::TestWithParam<Method> {};

TEST_P(Golden, EndsWhereItEnded) {
  const fs::path path = kDirectory / (GetParam().name + ".json");
  const Json got = trajectory(GetParam());
  const Json& losses = got["eval_losses_nats"];
  ASSERT_GE(losses.size(), 3u);
  EXPECT_LT(losses.back().get<double>(), 0.5 * losses.front().get<double>()) << "trains at all";
  if (rewrite) {
    std::ofstream(path) << got.dump(1) << '\n';
    return;
  }
  std::ifstream file(path);
  ASSERT_TRUE(file) << path << " is missing; sim_test --rewrite";
  expect_same(Json::parse(file), got, GetParam().name);
}

INSTANTIATE_TEST_SUITE_P(Methods, Golden, ::testing::ValuesIn(kMethods), [](const auto& method) {
  std::string name = method.param.name;
  std::ranges::replace(name, '-', '_');
  return name;
});

TEST(GoldenFiles, AreThoseOfTheMethodsAbove) {
  if (rewrite) return;  // they are being written
  std::vector<std::string> files, names;
  for (const auto& entry : fs::directory_iterator(kDirectory)) files.push_back(entry.path().stem());
  for (const Method& method : kMethods) names.push_back(method.name);
  EXPECT_THAT(files, ::testing::UnorderedElementsAreArray(names));
}

}  // namespace
}  // namespace rubato

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i)
    rubato::rewrite = rubato::rewrite || std::string_view(argv[i]) == "--rewrite";
  return RUN_ALL_TESTS();
}

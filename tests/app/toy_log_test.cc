// The toy task at its full size against the first line of the log that its authors printed: a loss
// of 1.305282 after 800 local steps of the asynchronous run. All lines over several seeds, and how
// they were made, are in docs/toy.md; the bound here is three of the standard deviations found
// there. Source: the notebook published with arXiv:2401.09135 (google-deepmind/asyncdiloco).
#include <atomic>

#include <gtest/gtest.h>

#include "rubato/app/build.h"
#include "rubato/app/methods.h"

namespace rubato {
namespace {

TEST(ToyLog, ItsFirstLineIsWithinTheSpreadOfOurSeeds) {
  constexpr int kThreads = 2;
  constexpr double kBound = 3 * 0.0314;
  const auto base = Recipe::load(RecipeSchema::make(catalogue()),
                                 std::string(RUBATO_SOURCE_DIR) + "/recipes/toy.toml");
  ASSERT_TRUE(base.ok()) << base.status();
  const auto recipe = recipe_for_method(*base, base->text("run.method"));
  ASSERT_TRUE(recipe.ok()) << recipe.status();
  const auto built = build_workload(*recipe, kThreads);
  ASSERT_TRUE(built.ok()) << built.status();
  const auto config = training_config(*recipe, kThreads);
  ASSERT_TRUE(config.ok()) << config.status();
  std::vector<float> theta(static_cast<size_t>(built->workload->layout().size()));
  built->workload->initialise(static_cast<uint64_t>(recipe->integer("run.seed")), theta);
  MemorySink sink;
  const auto simulation = Simulation::make(*config, *built->workload, theta, sink);
  ASSERT_TRUE(simulation.ok()) << simulation.status();
  std::atomic<bool> stop{false};
  const auto reason = (*simulation)
                          ->run({.progress =
                                     [&](const SimulationProgress&) {
                                       stop = sink.log().evals.back().local_steps > 0;
                                     },
                                 .stop = &stop});
  ASSERT_TRUE(reason.ok()) << reason.status();
  ASSERT_EQ(sink.log().evals.size(), 2u) << "before the first step, and the line";
  const EvalRecord& line = sink.log().evals.back();
  EXPECT_EQ(line.local_steps, 800);
  EXPECT_EQ(line.virtual_time_ns, from_seconds(209.00));
  EXPECT_NEAR(line.loss_nats, 1.305282, kBound);
}

}  // namespace
}  // namespace rubato

// The coordinator's model: single deltas, weighted groups, published versions, and that it moves
// exactly when the coordinator says so.
#include "rubato/server/server_model.h"

#include <cstring>

#include <gtest/gtest.h>

#include "rubato/base/flat_ops.h"
#include "rubato/base/rng.h"
#include "rubato/coordinator/coordinator.h"
#include "rubato/server/machine.h"

namespace rubato {
namespace {

using Floats = std::vector<float>;
using ChainOptions = std::map<std::string, std::map<std::string, OptionValue>>;

Floats normals(int64_t size, uint64_t key) {
  Rng rng(11, RngStream::kTest, key);
  Floats values(static_cast<size_t>(size));
  for (float& value : values) value = static_cast<float>(rng.normal());
  return values;
}

bool same_bits(std::span<const float> x, std::span<const float> y) {
  return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size_bytes()) == 0;
}

Layout layout_of(int64_t size) {
  Layout layout;
  layout.add("flat", {size}, TensorRole::kMatrix);
  return layout;
}

std::unique_ptr<OuterChain> chain_of(int64_t size, const std::vector<std::string>& links,
                                     const std::string& rule, const ChainOptions& options) {
  auto chain = OuterChain::make({links, rule, options}, layout_of(size),
                                {.num_workers = 3, .num_params = size});
  RUBATO_CHECK(chain.ok(), chain.status().message());
  return std::move(chain).value();
}

ServerModel model_of(const Floats& theta, const std::vector<std::string>& links,
                     const std::string& rule, const ChainOptions& options,
                     ThreadPool* pool = nullptr) {
  return {theta, chain_of(std::ssize(theta), links, rule, options), pool};
}

Apply single(double weight = 1, bool moves = true) {
  return {.members = {{TaskId(0), weight}}, .steps = 10, .moves_theta = moves};
}

void apply(ServerModel& model, const Apply& effect, const std::vector<Floats>& deltas,
           const PublishedParams& base = nullptr) {
  const std::vector<PlainDelta> values(deltas.begin(), deltas.end());
  const std::span<const float> start = base ? std::span(*base) : std::span<const float>();
  std::vector<ServerModel::Delta> given;
  for (const PlainDelta& delta : values) given.push_back({&delta, start});
  model.apply(effect, given);
}

StateImage state_of(ServerModel& model) {
  StateImage image;
  StateSaver saver(image);
  model.walk_state(saver);
  return image;
}

// However often it passes the codec: a coordinator publishes it and encodes it once more to send
// it.
TEST(ServerModel, PublishesWhatWorkersDecode) {
  const Floats theta = {1, 1.0F / 3, -2.7F};
  for (const std::string_view name : kDownCodecs) {
    const std::shared_ptr<const Codec> down = make_codec(name).value();
    ServerModel model(theta, chain_of(3, {}, "sgd", {}), nullptr, down);
    Floats received = theta;
    round_trip(*down, received, nullptr);
    EXPECT_EQ(same_bits(received, theta), down->lossless());
    EXPECT_TRUE(same_bits(*model.publish(), received));
    round_trip(*down, received, nullptr);
    EXPECT_TRUE(same_bits(*model.publish(), received)) << name;
    // The model itself is not rounded.
    EXPECT_TRUE(same_bits(model.theta(), theta));
    EXPECT_TRUE(same_bits(*model.share_theta(), theta));
    EXPECT_EQ(model.share_theta() == model.publish(), down->lossless()) << "a copy only where due";
  }
}

TEST(ServerModel, SubtractsASingleDelta) {
  ServerModel model = model_of({1, 2, 3}, {}, "sgd", {{"sgd", {{"lr", 0.5}}}});
  apply(model, single(), {{2, 0, -4}});
  EXPECT_TRUE(same_bits(model.theta(), Floats{0, 2, 5}));
}

TEST(ServerModel, WeighsASingleDelta) {
  ServerModel model = model_of({1, 2, 3}, {}, "sgd", {});
  const std::vector<Floats> deltas = {{2, 0, -4}};
  apply(model, single(0.25), deltas);
  EXPECT_TRUE(same_bits(model.theta(), Floats{0.5, 2, 4}));
  EXPECT_TRUE(same_bits(deltas[0], Floats{2, 0, -4})) << "the delta is its owner's";
}

TEST(ServerModel, AWeightOfOneIsTheDeltaItself) {
  const Floats theta = normals(5000, 1), delta = normals(5000, 2);
  ServerModel model = model_of(theta, {}, "nesterov", {});
  apply(model, single(), {delta});
  Floats want = theta;
  chain_of(5000, {}, "nesterov", {})->apply(PlainDelta(delta), {}, {.steps = 10}, want, nullptr);
  EXPECT_TRUE(same_bits(model.theta(), want));
}

TEST(ServerModel, AGroupIsOneUpdateWithTheWeightedSum) {
  const Floats theta = normals(5000, 1);
  const std::vector<Floats> deltas = {normals(5000, 2), normals(5000, 3), normals(5000, 4)};
  const Apply effect{.members = {{TaskId(4), 0.5}, {TaskId(2), 0.375}, {TaskId(9), 0.125}},
                     .steps = 30,
                     .closes_group = true};
  ServerModel model = model_of(theta, {}, "nesterov", {});
  const auto chain = chain_of(5000, {}, "nesterov", {});
  Floats want = theta;
  for (int round = 0; round < 3; ++round) {
    apply(model, effect, deltas);
    std::vector<double> sum(5000);
    for (size_t i = 0; i < 3; ++i)
      for (size_t j = 0; j < 5000; ++j) sum[j] += effect.members[i].weight * deltas[i][j];
    chain->apply(PlainDelta(Floats(sum.begin(), sum.end())), {}, {.group_size = 3}, want, nullptr);
  }
  for (size_t j = 0; j < 5000; ++j) ASSERT_NEAR(model.theta()[j], want[j], 1e-5);
}

TEST(ServerModel, TheMeanOfEqualDeltasIsThatDelta) {
  const Floats theta = normals(64, 1), delta = normals(64, 2);
  ServerModel group = model_of(theta, {}, "sgd", {}), one = model_of(theta, {}, "sgd", {});
  Apply effect{
      .members = {{TaskId(0), 0.25}, {TaskId(1), 0.25}, {TaskId(2), 0.25}, {TaskId(3), 0.25}}};
  apply(group, effect, {delta, delta, delta, delta});
  apply(one, single(), {delta});
  EXPECT_TRUE(same_bits(group.theta(), one.theta()));
}

TEST(ServerModel, StalenessReachesTheChain) {
  ServerModel model = model_of({1}, {"polynomial_discount"}, "sgd", {});
  Apply effect = single();
  effect.staleness = 3;
  apply(model, effect, {{1}});
  EXPECT_FLOAT_EQ(model.theta()[0], 0.5f) << "(1 + 3)^-0.5";
}

TEST(ServerModel, TheBaseReachesTheChain) {
  ServerModel model =
      model_of({5}, {"delay_compensation"}, "sgd", {{"delay_compensation", {{"lambda", 0.1}}}});
  EXPECT_TRUE(model.needs().task_base);
  const auto base = std::make_shared<const Floats>(Floats{3});
  apply(model, single(), {{2}}, base);
  EXPECT_FLOAT_EQ(model.theta()[0], 5 - (2 + 0.1f * 2 * 2 * (5 - 3)));
}

TEST(ServerModel, PublishedVersionsAreSharedAndNeverChange) {
  ServerModel model = model_of({1, 2}, {}, "sgd", {});
  const PublishedParams first = model.publish();
  EXPECT_EQ(first, model.publish()) << "one copy for all who start from it";
  apply(model, single(), {{1, 1}});
  EXPECT_EQ(*first, (Floats{1, 2}));
  const PublishedParams second = model.publish();
  EXPECT_NE(first, second);
  EXPECT_EQ(*second, (Floats{0, 1}));
  model.set_theta(Floats{7, 8});
  EXPECT_EQ(*second, (Floats{0, 1}));
  EXPECT_EQ(*model.publish(), (Floats{7, 8}));
}

// theta -= g, and workers start where the same step would lead once more.
class OneStepAhead final : public OuterStage {
 public:
  explicit OneStepAhead(int64_t num_params) : last_(static_cast<size_t>(num_params)) {}
  StageNeeds needs() const override { return {.looks_ahead = true}; }
  void walk_state(StateWalk& walk) override { walk.plane("last", last_); }
  StagePlan plan(const UpdateFacts&) override { return {}; }
  void apply(Block& block, const StagePlan&) override {
    for (int64_t i = 0; i < block.size; ++i) {
      last_[block.offset + i] = block.g[i];
      block.theta[i] -= block.g[i];
    }
  }
  void dispatch_point(Block& block) const override {
    for (int64_t i = 0; i < block.size; ++i) block.theta[i] -= last_[block.offset + i];
  }

 private:
  Floats last_;  // [P]
};

TEST(ServerModel, WorkersStartWhereTheRuleLooksAhead) {
  const OuterEntry entry = {
      {{"one_step_ahead", "", "", "", {}},
       [](const Options&, const OuterContext& context) -> StatusOr<std::unique_ptr<OuterStage>> {
         return std::make_unique<OneStepAhead>(context.num_params);
       }},
      StageKind::kTerminal};
  const OuterEntry* const entries[] = {&entry};
  constexpr int64_t kSize = 200'000;  // several jobs, so that a pool has something to share out
  ThreadPool pool(2);
  for (ThreadPool* threads : {static_cast<ThreadPool*>(nullptr), &pool}) {
    auto chain = OuterChain::make({{}, "one_step_ahead", {}}, layout_of(kSize),
                                  {.num_workers = 3, .num_params = kSize}, entries);
    ASSERT_TRUE(chain.ok()) << chain.status();
    const Floats start = normals(kSize, 1), delta = normals(kSize, 2);
    ServerModel model(start, std::move(chain).value(), threads);
    EXPECT_TRUE(model.needs().looks_ahead);
    EXPECT_EQ(*model.publish(), start) << "nothing was applied yet";
    apply(model, single(), {delta});
    Floats theta = start, ahead = start;
    for (size_t i = 0; i < theta.size(); ++i) {
      theta[i] -= delta[i];
      ahead[i] = theta[i] - delta[i];
    }
    EXPECT_TRUE(same_bits(model.theta(), theta)) << "looking ahead does not move the model";
    EXPECT_TRUE(same_bits(*model.publish(), ahead));
  }
}

TEST(ServerModel, AVersionOutlivesTheModel) {
  PublishedParams kept;
  {
    ServerModel model = model_of({4}, {}, "sgd", {});
    kept = model.publish();
  }
  EXPECT_EQ(*kept, Floats{4});
}

TEST(ServerModel, AHeldDeltaLeavesThetaAndItsVersionAlone) {
  ServerModel model = model_of({6}, {"buffer"}, "sgd", {});  // N = the three workers
  const PublishedParams first = model.publish();
  apply(model, single(1, false), {{1}});
  apply(model, single(1, false), {{2}});
  EXPECT_EQ(model.theta()[0], 6);
  EXPECT_EQ(model.publish(), first);
  apply(model, single(1, true), {{6}});
  EXPECT_EQ(model.theta()[0], 3);
}

TEST(ServerModelDeathTest, ChainAndCoordinatorMustAgreeOnWhatMoves) {
  ServerModel buffered = model_of({6}, {"buffer"}, "sgd", {});
  EXPECT_DEATH(apply(buffered, single(1, true), {{1}}), "disagree");
  ServerModel plain = model_of({6}, {}, "sgd", {});
  EXPECT_DEATH(apply(plain, single(1, false), {{1}}), "disagree");
  EXPECT_DEATH(apply(plain, single(), {}), "CHECK failed");
  EXPECT_DEATH(plain.set_theta(Floats{1, 2}), "CHECK failed");
}

TEST(ServerModel, ThePoolChangesNoBit) {
  ThreadPool pool(3);
  const Floats theta = normals(70'000, 1);
  ServerModel alone = model_of(theta, {"clip"}, "delayed_nesterov", {});
  ServerModel pooled = model_of(theta, {"clip"}, "delayed_nesterov", {}, &pool);
  for (uint64_t i = 0; i < 5; ++i) {
    const Floats delta = normals(70'000, 10 + i);
    apply(alone, single(), {delta});
    apply(pooled, single(), {delta});
  }
  EXPECT_TRUE(same_bits(alone.theta(), pooled.theta()));
  EXPECT_EQ(state_of(alone), state_of(pooled));
}

TEST(ServerModel, ContinuesFromItsSavedState) {
  const Floats theta = normals(300, 1);
  ServerModel original = model_of(theta, {"buffer"}, "delayed_nesterov", {});
  ServerModel restored = model_of(theta, {"buffer"}, "delayed_nesterov", {});
  for (uint64_t i = 0; i < 20; ++i) {
    if (i == 10) {  // one delta lies in the buffer
      const StateImage image = state_of(original);
      StateRestorer restorer(image);
      restored.walk_state(restorer);
      ASSERT_TRUE(restorer.status().ok());
      restored.set_theta(original.theta());
    }
    const Floats delta = normals(300, 100 + i);
    apply(original, single(1, i % 3 == 2), {delta});
    if (i >= 10) apply(restored, single(1, i % 3 == 2), {delta});
  }
  EXPECT_TRUE(same_bits(original.theta(), restored.theta()));
}

// A coordinator of its own decides; the model aborts when the two disagree. Versions, published
// copies and theta's moves are the same count.
TEST(ServerModel, MovesWhenTheCoordinatorCountsAVersion) {
  for (int64_t size : {1, 2, 3, 7}) {
    auto chain =
        chain_of(1, {"threshold", "buffer"}, "sgd",
                 {{"buffer", {{"size", size}}}, {"threshold", {{"max_staleness", int64_t{2}}}}});
    CoordinatorConfig config;
    config.shard_sequences = {1000};
    config.local_steps = 4;
    config.budget_steps = config.schedule_steps = 600;
    config.arrivals_per_step = chain->arrivals_per_step();
    config.max_staleness = chain->max_staleness();
    ServerModel model(Floats{0}, std::move(chain), nullptr);
    const Options none = Options::resolve("test", {}, {}).value();
    Coordinator coordinator = Coordinator::make(config, gate_entries()[0]->make(none).value(),
                                                policy_entries()[0]->make(none).value(),
                                                sampler_entries()[0]->make(none).value())
                                  .value();
    Effects effects;
    for (int64_t worker = 0; worker < 4; ++worker)
      coordinator.step(0, WorkerJoined{WorkerId(worker), 1}, effects);
    coordinator.step(0, Start{}, effects);
    Rng rng(static_cast<uint64_t>(size), RngStream::kTest);
    int64_t moves = 0, applied = 0, discarded = 0;
    std::vector<Task> out;
    for (Nanos now = 1; !coordinator.finished(); ++now) {
      for (const Effect& effect : effects) {
        if (const auto* dispatch = std::get_if<Dispatch>(&effect)) out.push_back(dispatch->task);
        discarded += std::holds_alternative<Discard>(effect) ? 1 : 0;
        const auto* update = std::get_if<Apply>(&effect);
        if (!update) continue;
        const float before = model.theta()[0];
        apply(model, *update, {{1}});
        ++applied;
        ASSERT_EQ(model.theta()[0] != before, update->moves_theta);
        moves += update->moves_theta ? 1 : 0;
      }
      effects.clear();
      // Mostly the oldest comes back, sometimes another: staleness varies.
      const size_t which = rng.below(3) > 0 ? 0 : rng.below(out.size());
      const Task task = out[which];
      out.erase(out.begin() + static_cast<std::ptrdiff_t>(which));
      coordinator.step(now, UpdateArrived{task.worker, task.id, 4, 4, 1, 2.0, true}, effects);
    }
    EXPECT_GT(moves, 10);
    EXPECT_EQ(moves, applied / size);
    EXPECT_EQ(static_cast<int64_t>(-model.theta()[0]), moves) << "each step moved theta by 1";
    EXPECT_LE(coordinator.counts().version - moves, 1) << "the last arrival ends the run";
    if (size == 1) {
      EXPECT_GT(discarded, 10) << "the threshold has been met";
    }
  }
}

}  // namespace
}  // namespace rubato

// The promises every registered gate, policy and sampler makes: words for people, options in range,
// decisions that are pure.
#include <set>

#include "tests/schedule/make_named.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rubato/base/rng.h"

namespace rubato {
namespace {

using ::testing::ElementsAre;

template <class E>
std::vector<std::string> names(std::span<const E* const> entries) {
  std::vector<std::string> out;
  for (const E* entry : entries) out.push_back(entry->name);
  return out;
}

template <class E>
void check_words(std::span<const E* const> entries) {
  for (const E* entry : entries) {
    EXPECT_FALSE(entry->name.empty());
    EXPECT_FALSE(entry->summary.empty()) << entry->name;
    EXPECT_FALSE(entry->formula.empty()) << entry->name;
    EXPECT_FALSE(entry->source.empty()) << entry->name;
    EXPECT_NE(entry->make, nullptr) << entry->name;
    for (const OptionSpec& option : entry->options) {
      EXPECT_FALSE(option.meaning.empty()) << entry->name << "." << option.name;
      EXPECT_TRUE(!option.unit.empty() || option.kind == OptionKind::kChoice)
          << entry->name << "." << option.name;
    }
    EXPECT_TRUE(Options::resolve(entry->name, entry->options, {}).ok()) << "defaults do";
    EXPECT_FALSE(Options::resolve(entry->name, entry->options, {{"no_such_option", 1.0}}).ok());
  }
  const auto all = names(entries);
  EXPECT_EQ(std::set<std::string>(all.begin(), all.end()).size(), all.size()) << "a name twice";
}

TEST(ScheduleRegistry, HasWhatTheHeadersSay) {
  EXPECT_THAT(names(gate_entries()), ElementsAre("free", "grace", "barrier", "quorum"));
  EXPECT_THAT(names(policy_entries()), ElementsAre("fixed", "dylu"));
  EXPECT_THAT(names(sampler_entries()), ElementsAre("deficit", "least_visited", "own_shard"));
}

TEST(ScheduleRegistry, EveryEntryIsDescribed) {
  check_words(gate_entries());
  check_words(policy_entries());
  check_words(sampler_entries());
}

TEST(ScheduleRegistry, OptionsAreGuarded) {
  const auto refused = [](const std::string& gate, const OptionValue& value) {
    const GateEntry* entry = *find_entry<GateEntry>("test", "gate", gate_entries(), gate);
    const std::string option = entry->options.at(0).name;
    return std::string(
        Options::resolve(gate, entry->options, {{option, value}}).status().message());
  };
  EXPECT_EQ(refused("grace", -0.5), "[grace] seconds: got -0.5, want a number in [0, 86400]");
  EXPECT_THAT(refused("grace", std::string("long")), ::testing::StartsWith("[grace] seconds: got"));
  EXPECT_THAT(refused("barrier", std::string("equal")),
              ::testing::HasSubstr("one of members, shard"));
}

TEST(ScheduleRegistry, UnknownNamesListTheNearest) {
  const auto entry = find_entry<GateEntry>("recipe", "gate", gate_entries(), "barier");
  EXPECT_EQ(entry.status().message(), "[recipe] unknown gate barier (did you mean barrier?)");
}

// Asked again, also after other questions, or another of the same kind asked: the same answer.
TEST(ScheduleRegistry, DecisionsArePure) {
  Rng rng(6, RngStream::kTest);
  for (const PolicyEntry* entry : policy_entries()) {
    const auto one = make_named<PolicyEntry>(policy_entries(), entry->name);
    const auto other = make_named<PolicyEntry>(policy_entries(), entry->name);
    for (int i = 0; i < 1000; ++i) {
      const int64_t h = 1 + static_cast<int64_t>(rng.below(100));
      const Nanos fastest = 1 + static_cast<Nanos>(rng.below(1000));
      const Nanos own = fastest + static_cast<Nanos>(rng.below(100'000));
      const int64_t steps = one->steps(h, own, fastest);
      ASSERT_TRUE(steps >= 1 && steps <= h) << entry->name;
      ASSERT_EQ(one->steps(h, fastest, fastest), h) << entry->name << ": the fastest makes H";
      ASSERT_EQ(other->steps(h, own, fastest), steps) << entry->name;
    }
  }
  for (const SamplerEntry* entry : sampler_entries()) {
    const auto one = make_named<SamplerEntry>(sampler_entries(), entry->name);
    const auto other = make_named<SamplerEntry>(sampler_entries(), entry->name);
    for (int64_t i = 0; i < 1000; ++i) {
      std::vector<ShardProgress> shards(1 + rng.below(6));
      for (ShardProgress& shard : shards) {
        shard = {1 + static_cast<int64_t>(rng.below(50)), static_cast<int64_t>(rng.below(50)),
                 static_cast<int64_t>(rng.below(3))};
      }
      const ShardId shard = one->sample(shards, WorkerId(i % 5), TaskId(i), 9);
      ASSERT_TRUE(shard.value() >= 0 && shard.value() < std::ssize(shards)) << entry->name;
      ASSERT_EQ(other->sample(shards, WorkerId(i % 5), TaskId(i), 9), shard) << entry->name;
    }
  }
}

TEST(ScheduleRegistry, EveryGateClosesWhenNobodyIsOut) {
  for (const GateEntry* entry : gate_entries()) {
    const auto gate = make_named<GateEntry>(gate_entries(), entry->name);
    for (Nanos now : {Nanos{10}, Nanos{1'000'000'000'000}}) {
      const GateDecision decision = gate->decide({.now = now, .opened = 10, .expected = {}});
      EXPECT_TRUE(decision.close) << entry->name;
      EXPECT_FALSE(decision.why.empty()) << entry->name;
    }
  }
}

}  // namespace
}  // namespace rubato

#include "rubato/rpc/event_outcome.h"

#include <gtest/gtest.h>

namespace rubato {
namespace {

TEST(EventOutcome, GivesWhatWasSet) {
  EventOutcome outcome;
  auto verdict = outcome.verdict();
  outcome.set(UpdateVerdict{UpdateVerdict::Kind::kDiscarded, {}});
  EXPECT_EQ(verdict.get()->kind, UpdateVerdict::Kind::kDiscarded);
}

TEST(EventOutcome, OneThatIsDroppedLeavesNobodyWaiting) {
  auto outcome = std::make_unique<EventOutcome>();
  auto verdict = outcome->verdict();
  outcome.reset();
  EXPECT_TRUE(absl::IsUnavailable(verdict.get().status()));
}

TEST(EventOutcome, MayBeOfNoInterest) {
  EventOutcome().set(absl::UnavailableError("nobody asked"));
  EXPECT_EQ(UpdateVerdict{}.kind, UpdateVerdict::Kind::kApplied);
}

}  // namespace
}  // namespace rubato

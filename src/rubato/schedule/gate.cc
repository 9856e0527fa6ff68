#include "rubato/schedule/gate.h"

#include <algorithm>

namespace rubato {
namespace {

// Workers expected until `limit` are waited for, `slack` longer than expected but never beyond it;
// the rest are not.
GateDecision wait_for_expected(const GateView& view, Nanos limit, Nanos slack) {
  Nanos latest = -1;
  for (Nanos expected : view.expected) {
    if (expected <= limit) latest = std::max(latest, expected);
  }
  if (latest < 0) return {.close = true, .why = "nobody else is expected within the window"};
  const Nanos until = std::max(std::min(latest + slack, limit), view.now);
  if (view.timer_fired && until <= view.now) return {.close = true, .why = "the window has ended"};
  return {.close = false, .wait_until = until, .why = "a worker is expected within the window"};
}

class Free final : public Gate {
 public:
  GateDecision decide(const GateView& view) const override {
    // Arrivals of the same instant come before dispatches, so only an exact tie is waited for.
    const bool tie = std::ranges::find(view.expected, view.now) != view.expected.end();
    if (tie && !view.timer_fired) {
      return {
          .close = false, .wait_until = view.now, .why = "another worker arrives at this instant"};
    }
    return {.close = true, .why = "free: nobody waits"};
  }
};

class Grace final : public Gate {
 public:
  Grace(Nanos grace, Nanos slack) : grace_(grace), slack_(slack) {}
  GateDecision decide(const GateView& view) const override {
    return wait_for_expected(view, view.opened + grace_, slack_);
  }

 private:
  Nanos grace_, slack_;
};

class Barrier final : public Gate {
 public:
  explicit Barrier(GroupMode mode) : mode_(mode) {}
  GroupMode group_mode() const override { return mode_; }
  GateDecision decide(const GateView& view) const override {
    if (view.expected.empty()) return {.close = true, .why = "the round is complete"};
    return {.close = false, .why = "the round waits for every member"};
  }

 private:
  GroupMode mode_;
};

const GateEntry kFree = {
    {.name = "free",
     .summary = "a finished worker starts again at once",
     .formula = "group = {w}",
     .source = "Liu et al. 2024, Alg. 2 with grace period 0",
     .options = {}},
    [](const Options&) -> StatusOr<std::unique_ptr<Gate>> { return std::make_unique<Free>(); }};

const GateEntry kGrace = {
    {.name = "grace",
     .summary =
         "workers that finish within a short window start again together, from the same parameters",
     .formula = "group = {w : finish(w) - first finish <= grace}",
     .source = "Liu et al. 2024, Alg. 2",
     .options = {real_option("seconds", 0.5, 0, 86400, "s",
                             "length of the window from its first finish"),
                 real_option("slack", 86400, 0, 86400, "s",
                             "how late a worker expected within the window may be before nobody "
                             "waits for it; never beyond the window's end")}},
    [](const Options& options) -> StatusOr<std::unique_ptr<Gate>> {
      return std::make_unique<Grace>(from_seconds(options.real("seconds")),
                                     from_seconds(options.real("slack")));
    }};

const GateEntry kBarrier = {
    {.name = "barrier",
     .summary = "a round: everybody waits for everybody, and the mean of the deltas is applied",
     .formula = "group = all members of the round; Delta = sum_i w_i delta_i",
     .source = "Douillard et al. 2023, Alg. 1",
     .options = {choice_option(
         "weight", "members", {"members", "shard"},
         "a delta's weight: 1/members, or its shard's share of the members' data")}},
    [](const Options& options) -> StatusOr<std::unique_ptr<Gate>> {
      return std::make_unique<Barrier>(options.text("weight") == "shard" ? GroupMode::kShardWeighted
                                                                         : GroupMode::kMean);
    }};

const GateEntry* const kEntries[] = {&kFree, &kGrace, &kBarrier};

}  // namespace

std::span<const GateEntry* const> gate_entries() { return kEntries; }

}  // namespace rubato

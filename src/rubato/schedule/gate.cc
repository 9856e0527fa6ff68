#include "rubato/schedule/gate.h"

#include <algorithm>
#include <iterator>
#include <optional>

namespace rubato {
namespace {

// Workers expected until `limit` are waited for, `slack` longer than expected but never beyond it;
// the rest are not.
GateDecision wait_for_expected(const GateView& view, Nanos limit, Nanos slack) {
  const auto behind = std::ranges::upper_bound(view.expected, limit);
  const Nanos latest = behind == view.expected.begin() ? -1 : *std::prev(behind);
  if (latest < 0) return {.close = true, .why = "nobody else is expected within the window"};
  const Nanos until = std::max(std::min(latest + slack, limit), view.now);
  if (view.timer_fired && until <= view.now) return {.close = true, .why = "the window has ended"};
  return {.close = false, .wait_until = until, .why = "a worker is expected within the window"};
}

class Free final : public Gate {
 public:
  GateDecision decide(const GateView& view) const override {
    // Arrivals of the same instant come before dispatches, so only an exact tie is waited for.
    const bool tie = std::ranges::binary_search(view.expected, view.now);
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
  bool rounds() const override { return true; }
  GateDecision decide(const GateView& view) const override {
    if (view.expected.empty()) return {.close = true, .why = "the round is complete"};
    return {.close = false, .why = "the round waits for every member"};
  }

 private:
  GroupMode mode_;
};

// K of the M who take part, and then whoever is expected within a share of the time in which the
// fastest of them could be back with another delta: that much is lost at most by waiting.
class Quorum final : public Gate {
 public:
  Quorum(std::optional<int64_t> deltas, double grace, GroupMode mode)
      : deltas_(deltas), grace_(grace), mode_(mode) {}
  GroupMode group_mode() const override { return mode_; }
  GateDecision decide(const GateView& view) const override {
    const int64_t here = std::ssize(view.arrived), all = here + std::ssize(view.expected);
    const int64_t needed = std::min(deltas_.value_or((all + 1) / 2), all);
    if (here < needed) return {.close = false, .why = "the quorum is not complete"};
    if (here == all) return {.close = true, .why = "everybody is here"};
    const Nanos complete = view.arrived[static_cast<size_t>(needed - 1)];
    // Who is late goes into the next group, so nobody is waited for beyond what was expected.
    return wait_for_expected(view, complete + grace_of(view.shortest_task), 0);
  }

 private:
  // Not beyond 73 years, so that times add up whatever the option says.
  Nanos grace_of(Nanos task) const {
    constexpr auto kLongest = static_cast<double>(GateDecision::kNever / 4);
    return static_cast<Nanos>(std::min(grace_ * static_cast<double>(task), kLongest));
  }

  std::optional<int64_t> deltas_;  // K; half of those who take part unless it is given
  double grace_;                   // [1] of the shortest task
  GroupMode mode_;
};

OptionSpec weight_option(std::string default_value) {
  return choice_option(
      "weight", std::move(default_value), {"members", "shard", "tokens"},
      "a delta's weight: 1/members, or its share of the members' shards or tokens");
}

GroupMode mode_of(const Options& options) {
  const std::string& weight = options.text("weight");
  if (weight == "shard") return GroupMode::kShardWeighted;
  return weight == "tokens" ? GroupMode::kTokenWeighted : GroupMode::kMean;
}

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
     .options = {weight_option("members")}},
    [](const Options& options) -> StatusOr<std::unique_ptr<Gate>> {
      return std::make_unique<Barrier>(mode_of(options));
    }};

const GateEntry kQuorum = {
    {.name = "quorum",
     .summary =
         "the mean of the first K of M deltas is applied, and of those that come soon after; "
         "later ones go into the next",
     .formula = "group = {w : finish(w) - K-th finish <= grace * shortest task}; w_i ~ tokens_i, "
                "which is tokens^2/steps where every step has as many tokens",
     .source = "Decoupled DiLoCo, arXiv:2604.21428; what the slack is a fraction of is our reading",
     .options = {optional(integer_option("deltas", 2, 1, 4096, "deltas",
                                         "K; without it half of those who take part")),
                 real_option("grace", 0.25, 0, 1e6, "1",
                             "how long the quorum waits for more, as a share of the time in which "
                             "the fastest member could deliver again"),
                 weight_option("tokens")}},
    [](const Options& options) -> StatusOr<std::unique_ptr<Gate>> {
      std::optional<int64_t> deltas;
      if (options.has("deltas")) deltas = options.integer("deltas");
      return std::make_unique<Quorum>(deltas, options.real("grace"), mode_of(options));
    }};

const GateEntry* const kEntries[] = {&kFree, &kGrace, &kBarrier, &kQuorum};

}  // namespace

std::span<const GateEntry* const> gate_entries() { return kEntries; }

}  // namespace rubato

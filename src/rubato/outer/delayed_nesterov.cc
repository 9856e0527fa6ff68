// delayed_nesterov (DN): every arrival moves theta at once, but momentum is refreshed only by the
// mean of the last N. Arrivals that follow each other no longer compound it.
//   sum += g
//   every N-th arrival:  m = beta*m + sum/N;  theta -= lr*((1 - c*N + c)*beta*m + g/N);  sum = 0
//   other arrivals:                           theta -= lr*(c*beta*m + g/N)
// N = `period`, else the number of workers; c in [0, 1/N]. g enters raw: 1/N is its weight.
// Source: arXiv:2401.09135 Alg. 3.
// `milestone = groups` (ours): the N-th arrival or, where a gate lets workers start together, the
// first one behind it that ends a group, at the latest the (2N-1)-th. While every group has N
// members it is the same, bit for bit. But one lost delta, and Alg. 3 refreshes momentum in the
// middle of groups for good: the deltas behind it started from before that step and do not know of
// it. docs/demo.md has what that costs. State: 2 P (m; sum, which is stale between a milestone and
// the next arrival), arrivals since then. Invariant: with c = 0, N arrivals = one Nesterov step on
// their mean (PaperRules.Algorithm3..).
#include "rubato/base/multiversion.h"
#include "rubato/outer/kernels.h"

namespace rubato {
namespace {

// The first arrival after a milestone stores where later ones add: no pass to clear the sum.
template <bool first, bool with_momentum>
inline __attribute__((always_inline)) void between(float* __restrict theta, float* __restrict sum,
                                                   const float* __restrict m,
                                                   const float* __restrict g, int64_t n, float lr,
                                                   float inverse_n, float spread) {
  for (int64_t i = 0; i < n; ++i) {
    sum[i] = first ? g[i] : sum[i] + g[i];
    theta[i] -= lr * (with_momentum ? spread * m[i] + inverse_n * g[i] : inverse_n * g[i]);
  }
}

// spread = c*beta; with c = 0 the momentum plane is not even read.
RUBATO_MULTIVERSION void held_step(float* __restrict theta, float* __restrict sum,
                                   const float* __restrict m, const float* __restrict g, int64_t n,
                                   bool first, float lr, float inverse_n, float spread) {
  if (first && spread == 0) return between<true, false>(theta, sum, m, g, n, lr, inverse_n, spread);
  if (first) return between<true, true>(theta, sum, m, g, n, lr, inverse_n, spread);
  if (spread == 0) return between<false, false>(theta, sum, m, g, n, lr, inverse_n, spread);
  between<false, true>(theta, sum, m, g, n, lr, inverse_n, spread);
}

// spread = (1 - c*N + c)*beta.
RUBATO_MULTIVERSION void milestone(float* __restrict theta, float* __restrict m,
                                   const float* __restrict sum, const float* __restrict g,
                                   int64_t n, float lr, float beta, float inverse_n, float spread) {
  for (int64_t i = 0; i < n; ++i) {
    m[i] = beta * m[i] + inverse_n * (sum[i] + g[i]);
    theta[i] -= lr * (spread * m[i] + inverse_n * g[i]);
  }
}

// N = 1 has no sum: the same step as nesterov.
RUBATO_MULTIVERSION void lone_step(float* __restrict theta, float* __restrict m,
                                   const float* __restrict g, int64_t n, float lr, float beta) {
  for (int64_t i = 0; i < n; ++i) {
    m[i] = beta * m[i] + g[i];
    theta[i] -= lr * (beta * m[i] + g[i]);
  }
}

class DelayedNesterov final : public OuterStage {
 public:
  DelayedNesterov(double lr, double beta, double c, int64_t period, bool by_groups,
                  int64_t num_params)
      : lr_(lr),
        beta_(beta),
        c_(c),
        period_(period),
        by_groups_(by_groups),
        m_(static_cast<size_t>(num_params)),
        sum_(period > 1 ? static_cast<size_t>(num_params) : 0) {}
  void walk_state(StateWalk& walk) override {
    walk.plane("m", m_);
    walk.plane("sum", sum_);
    walk.counter("arrivals", arrivals_);
  }
  MomentumView momentum() const override { return {m_, beta_}; }
  StageNeeds needs() const override { return {.groups = by_groups_}; }
  /// a = arrivals before this one since the last milestone, b = the factor of m in theta's step,
  /// c = 1 at a milestone.
  StagePlan plan(const UpdateFacts& facts) override {
    const int64_t latest = by_groups_ && !facts.closes_group ? 2 * period_ - 1 : period_;
    const bool at_milestone = arrivals_ + 1 >= latest;
    // What the arrivals before it have taken of the momentum step, a milestone leaves out.
    const double share = at_milestone ? 1 - c_ * static_cast<double>(arrivals_) : c_;
    const StagePlan plan{
        .a = static_cast<double>(arrivals_), .b = share * beta_, .c = at_milestone ? 1.0 : 0.0};
    arrivals_ = at_milestone ? 0 : arrivals_ + 1;
    return plan;
  }
  void apply(Block& block, const StagePlan& plan) override {
    const auto lr = static_cast<float>(lr_), beta = static_cast<float>(beta_);
    const auto inverse_n = static_cast<float>(1 / static_cast<double>(period_));
    const auto spread = static_cast<float>(plan.b);
    float* m = m_.data() + block.offset;
    if (period_ == 1) return lone_step(block.theta, m, block.g, block.size, lr, beta);
    float* sum = sum_.data() + block.offset;
    if (plan.c != 0) {
      milestone(block.theta, m, sum, block.g, block.size, lr, beta, inverse_n, spread);
    } else {
      held_step(block.theta, sum, m, block.g, block.size, plan.a == 0, lr, inverse_n, spread);
    }
  }

 private:
  double lr_, beta_, c_;
  int64_t period_;          // N
  bool by_groups_;          // a milestone ends a group
  int64_t arrivals_ = 0;    // since the last milestone, below N, or 2N - 1 by groups
  std::vector<float> m_;    // [P]
  std::vector<float> sum_;  // [P], or nothing when N = 1
};

StatusOr<std::unique_ptr<OuterStage>> make_delayed_nesterov(const Options& options,
                                                            const OuterContext& context) {
  const int64_t period = arrivals_or_workers(options, "period", context);
  const double c = options.real("c"), c_max = 1 / static_cast<double>(period);
  if (c > c_max) {
    return absl::InvalidArgumentError(cat("[delayed_nesterov] c: got ", c, ", want a number in ",
                                          "[0, 1/N] = [0, ", c_max, "] for N = ", period));
  }
  return std::make_unique<DelayedNesterov>(options.real("lr"), options.real("beta"), c, period,
                                           options.text("milestone") == "groups",
                                           context.num_params);
}

}  // namespace

extern const OuterEntry kDelayedNesterovEntry = {
    {{"delayed_nesterov",
      "moves theta at every arrival and refreshes momentum every N-th",
      "sum += g; every N-th arrival: m = beta*m + sum/N, "
      "theta -= lr*((1 - c*N + c)*beta*m + g/N), sum = 0; others: theta -= lr*(c*beta*m + g/N)",
      "arXiv:2401.09135 Alg. 3",
      {lr_option(0.7), beta_option(0.9),
       real_option("c", 0, 0, 1, "1",
                   "share of the momentum step taken between milestones; at most 1/N"),
       arrivals_option("period",
                       "N, arrivals from one refresh of the momentum to the next; without "
                       "it the number of workers"),
       choice_option("milestone", "arrivals", {"arrivals", "groups"},
                     "when momentum is refreshed: every N-th arrival as in the paper, or the first "
                     "one from the N-th on that ends its group")}},
     make_delayed_nesterov},
    StageKind::kTerminal};

}  // namespace rubato

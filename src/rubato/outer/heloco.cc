// heloco: turns each tensor of a delta that disagrees with the momentum it is about to join. With d
// the tensor of the delta, m the rule's momentum, c = <d, m>/(|d||m|), conf = |d|/(|d| + kappa|m|):
//   c >= .2, or |d| or |m| < 1e-8:  d' = d
//   c < 0:  d' = d - min(k_s*(-c)*conf, beta_max)*c*|d|*m/|m|          takes back part of the
//   conflict else:   d' = |d|*u/|u|,  u = (1-lam)*d/|d| + lam*m/|m|             turns d towards m
//           lam = min(k_d*(1-c)*conf, 1)                               variant = "formula"
//           lam = min(k_d*(.2-c)/(.2+.2)*conf, 1)                      variant = "script"
// The authors' script is continuous at c = .2, their formula is not. Either is a*d + b*m with two
// scalars a tensor, so the correction costs one pass for <d, m>, |d| and |m|, and no memory. Stands
// first in the chain; weight 1/sqrt(k) and mla follow.
// Source: arXiv:2606.00271. State: none.
// Invariant: |d'| <= |d|, and <d', m> >= <d, m> (Heloco.* in successors_test).
#include <algorithm>
#include <cmath>

#include "rubato/base/multiversion.h"
#include "rubato/outer/kernels.h"

namespace rubato {
namespace {

constexpr double kAgrees = 0.2;      // c_ok: from here on a delta is left alone
constexpr double kConflicts = -0.2;  // c_bad of the script
constexpr double kTiny = 1e-8;       // norms below have no direction

RUBATO_MULTIVERSION void mix(float* out, const float* g, const float* m, int64_t n, float a,
                             float b) {
  RUBATO_INDEPENDENT_LOOP
  for (int64_t i = 0; i < n; ++i) out[i] = a * g[i] + b * m[i];
}

struct HelocoOptions {
  double k_s, k_d, kappa, beta_max;
  bool script;
};

class Heloco final : public OuterStage {
 public:
  Heloco(const HelocoOptions& options, size_t num_tensors)
      : options_(options), mixes_(num_tensors) {}
  StageNeeds needs() const override { return {.momentum = true}; }
  StagePlan plan(const UpdateFacts& facts) override {
    RUBATO_CHECK(facts.tensors.size() == mixes_.size());
    for (size_t t = 0; t < mixes_.size(); ++t) mixes_[t] = mix_of(facts.tensors[t]);
    return {};
  }
  void apply(Block& block, const StagePlan&) override {
    const Mix& of = mixes_[static_cast<size_t>(block.tensor)];
    if (of.a == 1 && of.b == 0) return;
    mix(block.scratch, block.g, block.m, block.size, static_cast<float>(of.a),
        static_cast<float>(of.b));
    block.g = block.scratch;
  }

 private:
  struct Mix {  // d' = a*d + b*m
    double a = 1, b = 0;
  };

  Mix mix_of(const TensorStats& stats) const {
    const double d = stats.delta_norm, m = stats.momentum_norm;
    if (d < kTiny || m < kTiny) return {};
    const double c = stats.dot / (d * m);
    const double conf = d / (d + options_.kappa * m);
    if (c >= kAgrees) return {};
    if (c < 0) {
      return {.a = 1, .b = -std::min(options_.k_s * -c * conf, options_.beta_max) * c * d / m};
    }
    const double off = options_.script ? (kAgrees - c) / (kAgrees - kConflicts) : 1 - c;
    const double lam = std::min(options_.k_d * off * conf, 1.0), rest = 1 - lam;
    const double length = std::sqrt(rest * rest + lam * lam + 2 * rest * lam * c);  // |u|
    return {.a = rest / length, .b = lam * d / (m * length)};
  }

  HelocoOptions options_;
  std::vector<Mix> mixes_;  // by tensor, of the update under way
};

StatusOr<std::unique_ptr<OuterStage>> make_heloco(const Options& options,
                                                  const OuterContext& context) {
  return std::make_unique<Heloco>(
      HelocoOptions{options.real("k_s"), options.real("k_d"), options.real("kappa"),
                    options.real("beta_max"), options.text("variant") == "script"},
      context.tensors.size());
}

}  // namespace

extern const OuterEntry kHelocoEntry = {
    {{"heloco",
      "turns every tensor of a delta that disagrees with the momentum towards it",
      "c = <d,m>/(|d||m|); c >= .2: d; c < 0: d - min(k_s*(-c)*conf, beta_max)*c*|d|*m/|m|; else "
      "|d|*u/|u|, u = (1-lam)*d/|d| + lam*m/|m|; conf = |d|/(|d| + kappa*|m|)",
      "arXiv:2606.00271",
      {choice_option("variant", "formula", {"formula", "script"},
                     "lam = min(k_d*(1-c)*conf, 1) as printed, or min(k_d*(.2-c)/.4*conf, 1) as in "
                     "the authors' script"),
       real_option("k_s", 0.5, 0, 100, "1", "how much of a conflict is taken back"),
       real_option("k_d", 1, 0, 100, "1", "how far an indifferent delta is turned"),
       real_option("kappa", 3, 0, 1000, "1",
                   "the larger, the less is done to a delta that is short beside the momentum"),
       real_option("beta_max", 0.5, 0, 1, "1",
                   "the largest share of a conflict that is taken back")}},
     make_heloco},
    StageKind::kLink};

}  // namespace rubato

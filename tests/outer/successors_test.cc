// The published successors of delayed Nesterov: each against its formula, and against what it must
// be when what is new about it is switched off.
#include <cmath>
#include <numbers>

#include "tests/outer/fixtures.h"
#include "tests/outer/reference.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace rubato::testing {
namespace {

constexpr int64_t kSize = 53;
constexpr double kRounding = 2e-6;  // a dozen float operations on values of size 1

// ---- mla

RC_GTEST_PROP(Mla, FollowsItsFormulaAndLooksAheadAlongItsMomentum, ()) {
  const auto key = *rc::gen::arbitrary<uint64_t>();
  const double lr = *rc::gen::inRange(1, 100) / 100.0, gamma = *rc::gen::inRange(0, 99) / 100.0;
  auto chain =
      make_chain(flat_layout(kSize), 4, {}, "mla", {{"mla", {{"lr", lr}, {"gamma", gamma}}}});
  RC_ASSERT(chain->needs().looks_ahead);
  Floats theta = random_floats(kSize, key);
  Doubles want = to_doubles(theta), m(kSize);
  for (uint64_t i = 1; i <= 6; ++i) {
    const Floats delta = random_floats(kSize, key ^ i);
    apply(*chain, delta, theta);
    Floats ahead = theta;
    chain->dispatch_point(ahead, nullptr);
    Doubles want_ahead = want;
    for (size_t j = 0; j < want.size(); ++j) {
      m[j] = gamma * m[j] + (1 - gamma) * delta[j];
      want[j] -= lr * (gamma * m[j] + delta[j]);
      want_ahead[j] = want[j] - lr * gamma * m[j];
    }
    RC_ASSERT(relative_gap(theta, want) <= kRounding);
    RC_ASSERT(relative_gap(ahead, want_ahead) <= kRounding);
  }
}

TEST(Mla, GammaZeroIsSgdBitForBit) {
  auto mla = make_chain(flat_layout(kSize), 1, {}, "mla", {{"mla", {{"gamma", 0.0}, {"lr", 0.3}}}});
  auto sgd = make_chain(flat_layout(kSize), 1, {}, "sgd", {{"sgd", {{"lr", 0.3}}}});
  Floats x = random_floats(kSize, 1), y = x;
  for (uint64_t i = 0; i < 4; ++i) {
    const Floats delta = random_floats(kSize, 10 + i);
    apply(*mla, delta, x);
    apply(*sgd, delta, y);
    Floats ahead = x;
    mla->dispatch_point(ahead, nullptr);
    EXPECT_TRUE(same_bits(ahead, x)) << "nothing to look ahead along";
  }
  EXPECT_TRUE(same_bits(x, y));
}

TEST(Mla, WhereWorkersStartDoesNotChangeTheRule) {
  auto ahead = make_chain(flat_layout(kSize), 1, {}, "mla");
  auto at_theta =
      make_chain(flat_layout(kSize), 1, {}, "mla", {{"mla", {{"dispatch", std::string("theta")}}}});
  EXPECT_FALSE(at_theta->needs().looks_ahead);
  Floats x = random_floats(kSize, 1), y = x;
  for (uint64_t i = 0; i < 4; ++i) {
    const Floats delta = random_floats(kSize, 10 + i);
    apply(*ahead, delta, x);
    apply(*at_theta, delta, y);
  }
  EXPECT_TRUE(same_bits(x, y));
  Floats start = y;
  at_theta->dispatch_point(start, nullptr);
  EXPECT_TRUE(same_bits(start, y));
  ahead->dispatch_point(start, nullptr);
  EXPECT_FALSE(same_bits(start, y));
}

// ---- age_gate

// The factor that `link` puts on a delta of 1.
double factor(OuterChain& chain, const UpdateFacts& facts) {
  Floats theta = {0};
  chain.apply(PlainDelta(Floats{1}), {}, facts, theta, nullptr);
  return -static_cast<double>(theta[0]);
}

TEST(AgeGate, IsACosineTimesAnExponential) {
  auto chain = make_chain(flat_layout(1), 4, {"age_gate"}, "sgd",
                          {{"age_gate", {{"alpha", 0.2}, {"s_cut", 8.0}}}});
  for (int64_t s = 0; s <= 10; ++s) {
    const double gate =
        0.5 * (1 + std::cos(std::numbers::pi * std::min(static_cast<double>(s) / 8, 1.0)));
    EXPECT_NEAR(factor(*chain, {.staleness = s}), gate * std::exp(-0.2 * static_cast<double>(s)),
                1e-7)
        << s;
  }
  EXPECT_EQ(factor(*chain, {.staleness = 8}), 0);
}

TEST(AgeGate, CutsAtFourTimesTheNumberOfWorkersUnlessToldOtherwise) {
  for (const int64_t workers : {1, 4, 16}) {
    auto chain = make_chain(flat_layout(1), workers, {"age_gate"}, "sgd");
    EXPECT_EQ(factor(*chain, {.staleness = 4 * workers}), 0);
    EXPECT_GT(factor(*chain, {.staleness = 4 * workers - 1}), 0);
  }
  auto sixteen =
      make_chain(flat_layout(1), 16, {"age_gate"}, "sgd", {{"age_gate", {{"alpha", 0.0}}}});
  EXPECT_GE(factor(*sixteen, {.staleness = 15}), 0.85);
}

RC_GTEST_PROP(AgeGate, WithoutDecayAndCutIsAdam, ()) {
  const auto key = *rc::gen::arbitrary<uint64_t>();
  auto gated = make_chain(flat_layout(kSize), 4, {"age_gate"}, "adam",
                          {{"age_gate", {{"alpha", 0.0}, {"s_cut", 1e9}}}});
  auto adam = make_chain(flat_layout(kSize), 4, {}, "adam");
  Floats x = random_floats(kSize, key), y = x;
  for (uint64_t i = 1; i <= 4; ++i) {
    const auto staleness = *rc::gen::inRange<int64_t>(0, 10);
    const Floats delta = random_floats(kSize, key ^ i);
    apply(*gated, delta, x, staleness);
    apply(*adam, delta, y, staleness);
  }
  RC_ASSERT(same_bits(x, y));
}

// ---- token_weight

TEST(TokenWeight, IsTokensByTheirMeanSoFar) {
  auto chain = make_chain(flat_layout(1), 4, {"token_weight"}, "sgd");
  EXPECT_EQ(factor(*chain, {.tokens = 300}), 1);
  EXPECT_EQ(factor(*chain, {.tokens = 100}), 0.5);   // mean 200
  EXPECT_EQ(factor(*chain, {.tokens = 200}), 1);     // mean 200
  EXPECT_EQ(factor(*chain, {.tokens = 1000}), 2.5);  // mean 400
}

RC_GTEST_PROP(TokenWeight, EqualTokensChangeNoBit, ()) {
  const auto key = *rc::gen::arbitrary<uint64_t>();
  const auto tokens = *rc::gen::inRange<int64_t>(0, 10'000'000);
  auto weighted = make_chain(flat_layout(kSize), 4, {"token_weight"}, "nesterov");
  auto plain = make_chain(flat_layout(kSize), 4, {}, "nesterov");
  Floats x = random_floats(kSize, key), y = x;
  for (uint64_t i = 1; i <= 5; ++i) {
    const Floats delta = random_floats(kSize, key ^ i);
    weighted->apply(PlainDelta(delta), {}, {.tokens = tokens}, x, nullptr);
    plain->apply(PlainDelta(delta), {}, {.tokens = tokens}, y, nullptr);
  }
  RC_ASSERT(same_bits(x, y));
}

// ---- heloco

// What heloco makes of `d` when the rule's momentum is `m`.
Floats corrected(const Layout& layout, const Floats& d, const Floats& m,
                 std::map<std::string, OptionValue> options = {}) {
  // With beta 0 the momentum is the last delta, and the first one meets none.
  auto chain =
      make_chain(layout, 4, {"heloco"}, "momentum",
                 {{"heloco", std::move(options)}, {"momentum", {{"lr", 1.0}, {"beta", 0.0}}}});
  Floats theta(d.size());
  apply(*chain, m, theta);
  std::ranges::fill(theta, 0.0f);
  apply(*chain, d, theta);
  for (float& value : theta) value = 0 - value;
  return theta;
}

struct Lie {  // of two vectors, in double
  double dot = 0, xx = 0, yy = 0;
  Lie(std::span<const float> x, std::span<const float> y) {
    for (size_t i = 0; i < x.size(); ++i) {
      dot += static_cast<double>(x[i]) * y[i];
      xx += static_cast<double>(x[i]) * x[i];
      yy += static_cast<double>(y[i]) * y[i];
    }
  }
  double norm() const { return std::sqrt(xx); }
  double cosine() const { return dot / std::sqrt(xx * yy); }
};

// As ALGORITHMS prints it, of one tensor.
Doubles heloco_reference(std::span<const float> d, std::span<const float> m, bool script) {
  const Lie lie(d, m);
  const double c = lie.cosine(), nd = std::sqrt(lie.xx), nm = std::sqrt(lie.yy);
  const double conf = nd / (nd + 3 * nm);
  Doubles out(d.begin(), d.end());
  if (c >= 0.2 || nd < 1e-8 || nm < 1e-8) return out;
  if (c < 0) {
    for (size_t i = 0; i < d.size(); ++i)
      out[i] -= std::min(0.5 * -c * conf, 0.5) * c * nd * m[i] / nm;
    return out;
  }
  const double lam = std::min((script ? (0.2 - c) / 0.4 : 1 - c) * conf, 1.0);
  double length = 0;
  for (size_t i = 0; i < d.size(); ++i) {
    out[i] = (1 - lam) * d[i] / nd + lam * m[i] / nm;
    length += out[i] * out[i];
  }
  for (double& value : out) value *= nd / std::sqrt(length);
  return out;
}

// A vector of |m| with the given cosine to it, and another length.
Floats at_cosine(const Floats& m, double cosine, double length, uint64_t key) {
  const Floats other = random_floats(std::ssize(m), key);
  const Lie lie(other, m);
  Doubles across(m.size());
  double across2 = 0;
  for (size_t i = 0; i < m.size(); ++i) {
    across[i] = other[i] - lie.dot / lie.yy * m[i];
    across2 += across[i] * across[i];
  }
  Floats out(m.size());
  for (size_t i = 0; i < m.size(); ++i) {
    out[i] = static_cast<float>(length *
                                (cosine * m[i] / std::sqrt(lie.yy) +
                                 std::sqrt(1 - cosine * cosine) * across[i] / std::sqrt(across2)));
  }
  return out;
}

TEST(Heloco, FollowsItsFormulaInBothVariants) {
  constexpr int64_t kMany = kBlockFloats + 77;
  const Floats m = random_floats(kMany, 1);
  uint64_t key = 2;
  for (const double cosine : {-0.95, -0.5, -0.1, 0.01, 0.05, 0.15, 0.19}) {
    for (const double length : {0.3, 60.0, 4000.0}) {
      const Floats d = at_cosine(m, cosine, length, key++);
      for (const bool script : {false, true}) {
        const Floats got = corrected(flat_layout(kMany), d, m,
                                     {{"variant", std::string(script ? "script" : "formula")}});
        EXPECT_LE(relative_gap(got, heloco_reference(d, m, script)), kRounding)
            << cosine << " " << length;
        EXPECT_FALSE(same_bits(got, d));
      }
    }
  }
}

TEST(Heloco, DealsWithEveryTensorByItself) {
  const Layout layout = odd_layout();
  Floats m = random_floats(layout.size(), 1), d = m;
  // One agrees, one conflicts, one is indifferent, one has no momentum.
  const std::vector<TensorSpec>& tensors = layout.tensors();
  const auto part = [](auto& of, const TensorSpec& t) {
    return std::span(of).subspan(static_cast<size_t>(t.offset), static_cast<size_t>(t.size));
  };
  const auto put = [&](const TensorSpec& t, double cosine) {
    const auto from = part(m, t);
    const Floats made = at_cosine({from.begin(), from.end()}, cosine, 10, 5);
    std::ranges::copy(made, part(d, t).begin());
  };
  put(tensors[1], -0.6);
  put(tensors[2], 0.1);
  put(tensors[3], -0.6);
  std::ranges::fill(part(m, tensors[3]), 0.0f);
  const Floats got = corrected(layout, d, m);
  for (const TensorSpec& t : tensors) {
    const auto of_got = part(got, t);
    EXPECT_LE(relative_gap({of_got.begin(), of_got.end()},
                           heloco_reference(part(d, t), part(m, t), false)),
              kRounding);
  }
  const auto same = [&](size_t t) {
    return std::ranges::equal(part(got, tensors[t]), part(d, tensors[t]));
  };
  EXPECT_TRUE(same(0) && !same(1) && !same(2) && same(3));
}

RC_GTEST_PROP(Heloco, PassesWhatAgreesThrough, ()) {
  const auto key = *rc::gen::arbitrary<uint64_t>();
  const double cosine = *rc::gen::inRange(201, 1000) / 1000.0;
  const Floats m = random_floats(kSize, key), d = at_cosine(m, cosine, 3, key ^ 1);
  for (const char* variant : {"formula", "script"}) {
    RC_ASSERT(
        same_bits(corrected(flat_layout(kSize), d, m, {{"variant", std::string(variant)}}), d));
  }
}

RC_GTEST_PROP(Heloco, NeverLengthensAndNeverTurnsAway, ()) {
  const auto key = *rc::gen::arbitrary<uint64_t>();
  const double cosine = *rc::gen::inRange(-1000, 1000) / 1000.0;
  const double length = std::pow(10.0, *rc::gen::inRange(-3, 4));
  const std::string variant = *rc::gen::element<std::string>("formula", "script");
  const Floats m = random_floats(kSize, key), d = at_cosine(m, cosine, length, key ^ 1);
  const Floats got =
      corrected(flat_layout(kSize), d, m, {{"variant", variant}, {"k_s", 5.0}, {"k_d", 9.0}});
  const Lie before(d, m), after(got, m);
  RC_ASSERT(after.norm() <= before.norm() * (1 + 1e-5));
  RC_ASSERT(after.dot >= before.dot - 1e-5 * std::sqrt(before.xx * before.yy));
  if (before.cosine() >= 1e-3) RC_ASSERT(after.norm() >= before.norm() * (1 - 1e-5));
}

TEST(Heloco, WhatIsTinyHasNoDirection) {
  const Floats m = random_floats(kSize, 1);
  const Floats against = at_cosine(m, -0.5, 1, 2);
  Floats tiny = against, tiny_m = m;
  for (float& value : tiny) value *= 0.9e-8f;  // of length 1 before
  EXPECT_TRUE(same_bits(corrected(flat_layout(kSize), tiny, m), tiny));
  for (float& value : tiny_m) value *= 1e-10f;
  EXPECT_TRUE(same_bits(corrected(flat_layout(kSize), against, tiny_m), against));
  EXPECT_FALSE(same_bits(corrected(flat_layout(kSize), against, m), against));
}

TEST(Heloco, TheScriptIsContinuousWhereItLetsGo) {
  const Floats m = random_floats(kSize, 1), d = at_cosine(m, 0.1999, 1, 2);
  const auto moved = [&](const char* variant) {
    const Floats got = corrected(flat_layout(kSize), d, m, {{"variant", std::string(variant)}});
    double gap2 = 0;
    for (size_t i = 0; i < d.size(); ++i) gap2 += std::pow(static_cast<double>(got[i]) - d[i], 2);
    return std::sqrt(gap2);
  };
  EXPECT_LT(moved("script"), 1e-4);
  EXPECT_GT(moved("formula"), 0.01);
}

TEST(Heloco, StandsFirstInFrontOfARuleWithMomentum) {
  const auto status = [](std::vector<std::string> links, std::string rule) {
    return OuterChain::make({std::move(links), std::move(rule), {}}, flat_layout(8),
                            {.num_workers = 4, .num_params = 8})
        .status();
  };
  EXPECT_EQ(status({"heloco"}, "sgd").message(),
            "[outer chain] got heloco in front of sgd, want a rule with momentum");
  EXPECT_EQ(status({"weight", "heloco"}, "mla").message(),
            "[outer chain] got heloco behind weight, want it first; it reads what arrived as it "
            "arrived");
  for (const char* rule : {"momentum", "nesterov", "adam", "delayed_nesterov", "mla"}) {
    EXPECT_TRUE(status({"heloco", "weight"}, rule).ok()) << rule;
  }
}

// ---- radial_directional

// What a group of these deltas and weights becomes behind `links`.
Floats merged(const Layout& layout, const std::vector<Floats>& deltas,
              const std::vector<double>& weights,
              std::vector<std::string> links = {"radial_directional"}, ThreadPool* pool = nullptr) {
  const std::vector<PlainDelta> values(deltas.begin(), deltas.end());
  std::vector<WeightedSum::Member> group;
  for (size_t i = 0; i < values.size(); ++i) group.push_back({weights[i], &values[i]});
  auto chain = make_chain(layout, 4, std::move(links), "sgd");
  Floats theta(deltas[0].size());
  for (int again = 0; again < 2; ++again) {  // nothing is left of the group before
    std::ranges::fill(theta, 0.0f);
    chain->apply(group, {}, {.group_size = std::ssize(group)}, theta, pool);
  }
  for (float& value : theta) value = 0 - value;
  return theta;
}

TEST(RadialDirectional, FollowsItsFormulaTensorByTensor) {
  const Layout layout = odd_layout();
  const std::vector<double> weights = {0.5, 0.3, 0.2};
  std::vector<Floats> deltas;
  for (uint64_t i = 0; i < 3; ++i)
    deltas.push_back(random_floats(layout.size(), 1 + i, std::pow(10.0, static_cast<double>(i))));
  const Floats got = merged(layout, deltas, weights);
  for (const TensorSpec& tensor : layout.tensors()) {
    const auto begin = static_cast<size_t>(tensor.offset), size = static_cast<size_t>(tensor.size);
    Doubles direction(size), mean(size);
    double radius = 0, length = 0;
    for (size_t i = 0; i < 3; ++i) {
      const auto v = std::span(deltas[i]).subspan(begin, size);
      const double norm = Lie(v, v).norm();
      radius += weights[i] * norm;
      for (size_t j = 0; j < size; ++j) {
        direction[j] += weights[i] * v[j] / norm;
        mean[j] += weights[i] * v[j];
      }
    }
    for (double value : direction) length += value * value;
    for (double& value : direction) value *= radius / std::sqrt(length);
    const auto of_got = std::span(got).subspan(begin, size);
    const bool embedding = tensor.role == TensorRole::kEmbedding;
    EXPECT_LE(relative_gap({of_got.begin(), of_got.end()}, embedding ? mean : direction), kRounding)
        << tensor.name;
  }
}

RC_GTEST_PROP(RadialDirectional, OfEqualDeltasIsTheDelta, ()) {
  const auto key = *rc::gen::arbitrary<uint64_t>();
  const auto n = static_cast<size_t>(*rc::gen::inRange(2, 9));
  const Floats delta = random_floats(kSize, key);
  const Floats got = merged(flat_layout(kSize), std::vector<Floats>(n, delta),
                            std::vector<double>(n, 1.0 / static_cast<double>(n)));
  RC_ASSERT(relative_gap(got, to_doubles(delta)) <= kRounding);
}

RC_GTEST_PROP(RadialDirectional, TheDirectionDoesNotSeeLengths, ()) {
  const auto key = *rc::gen::arbitrary<uint64_t>();
  const std::vector<double> weights = {0.6, 0.4};
  std::vector<Floats> deltas = {random_floats(kSize, key), random_floats(kSize, key ^ 1)};
  const Floats before = merged(flat_layout(kSize), deltas, weights);
  const auto factor = static_cast<float>(std::pow(10.0, *rc::gen::inRange(-4, 5)));
  for (float& value : deltas[1]) value *= factor;
  const Floats after = merged(flat_layout(kSize), deltas, weights);
  RC_ASSERT(Lie(before, after).cosine() >= 1 - 1e-6);
  const double length =
      0.6 * Lie(deltas[0], deltas[0]).norm() + 0.4 * Lie(deltas[1], deltas[1]).norm();
  RC_ASSERT(std::abs(Lie(after, after).norm() - length) <= 1e-5 * length);
}

TEST(RadialDirectional, WhereDirectionsCancelItIsTheWeightedMean) {
  const Floats delta = random_floats(kSize, 1);
  Floats opposite = delta, zero(kSize);
  for (float& value : opposite) value *= -3;
  const Floats got = merged(flat_layout(kSize), {delta, opposite}, {0.5, 0.5});
  Doubles mean = to_doubles(delta);
  for (double& value : mean) value *= 0.5 - 1.5;
  EXPECT_LE(relative_gap(got, mean), kRounding);
  EXPECT_TRUE(same_bits(merged(flat_layout(kSize), {zero, zero}, {0.5, 0.5}), zero));
  // One that did not move has no direction, but makes the mean shorter.
  const Floats half = merged(flat_layout(kSize), {delta, zero}, {0.5, 0.5});
  EXPECT_NEAR(Lie(half, delta).cosine(), 1, 1e-6);
  EXPECT_NEAR(Lie(half, half).norm(), 0.5 * Lie(delta, delta).norm(), 1e-5);
}

TEST(RadialDirectional, ThreadsChangeNoBit) {
  const Layout layout = wide_layout();
  const std::vector<Floats> deltas = {random_floats(layout.size(), 1),
                                      random_floats(layout.size(), 2),
                                      random_floats(layout.size(), 3)};
  const std::vector<double> weights = {0.5, 0.3, 0.2};
  const Floats alone = merged(layout, deltas, weights);
  ThreadPool pool(2);
  EXPECT_TRUE(same_bits(alone, merged(layout, deltas, weights, {"radial_directional"}, &pool)));
}

TEST(RadialDirectional, StandsFirstAndOthersSeeWhatItMade) {
  const auto status = [](std::vector<std::string> links) {
    return OuterChain::make({std::move(links), "mla", {}}, flat_layout(8),
                            {.num_workers = 4, .num_params = 8})
        .status();
  };
  EXPECT_FALSE(status({"weight", "radial_directional"}).ok());
  EXPECT_TRUE(status({"radial_directional", "heloco", "weight"}).ok());
  EXPECT_FALSE(status({"radial_directional", "weight", "heloco"}).ok());
  const Floats a = random_floats(kSize, 1), b = random_floats(kSize, 2);
  const Floats whole = merged(flat_layout(kSize), {a, b}, {0.5, 0.5});
  const Floats clipped =
      merged(flat_layout(kSize), {a, b}, {0.5, 0.5}, {"radial_directional", "clip"});
  EXPECT_NEAR(Lie(clipped, clipped).norm(), 1, 1e-5);
  EXPECT_NEAR(Lie(clipped, whole).cosine(), 1, 1e-6);
}

TEST(GroupMerge, GivesTheSameBitsWhereverItIsCut) {
  const Layout layout = odd_layout();
  const Floats x = random_floats(layout.size(), 1), y = random_floats(layout.size(), 2);
  const PlainDelta dx(x), dy(y);
  const std::vector<WeightedSum::Member> group = {{0.7, &dx}, {0.3, &dy}};
  GroupMerge merge(layout);
  merge.begin(group, nullptr);
  for (int64_t t = 0; t < merge.num_tensors(); ++t)
    merge.weights(t)[0] = static_cast<double>(t + 1);
  Floats whole(x.size()), cut(x.size()), scratch(kBlockFloats);
  const auto read = [&](Floats& into, int64_t step) {
    for (int64_t at = 0; at < merge.size(); at += step) {
      const int64_t size = std::min(step, merge.size() - at);
      std::copy_n(merge.block(at, size, scratch.data()), size, into.begin() + at);
    }
  };
  read(whole, kBlockFloats);
  read(cut, 1000);
  EXPECT_TRUE(same_bits(whole, cut));
  EXPECT_NEAR(cut[1], 2 * x[1] + 0.3f * y[1], 1e-6) << "the second tensor's weights";
}

}  // namespace
}  // namespace rubato::testing

// What every inner optimizer promises, tested over the whole registry.
#include <algorithm>
#include <cmath>
#include <functional>
#include <set>

#include "tests/trainer/inner_testing.h"
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace rubato {
namespace {

// Each entry with its defaults, and with every number moved halfway to its upper end (bounded): so
// that state which the defaults leave out is tested too.
std::vector<std::map<std::string, OptionValue>> variants(const InnerEntry& entry) {
  std::map<std::string, OptionValue> moved;
  for (const OptionSpec& spec : entry.options) {
    if (spec.kind != OptionKind::kReal) continue;
    const double now = std::get<double>(spec.default_value);
    moved[spec.name] = now + 0.5 * (std::fmin(spec.max, now + 0.5) - now);
  }
  return {{}, moved};
}

struct Case {
  std::string name;
  std::unique_ptr<InnerOptimizer> optimizer;
};

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const InnerEntry* entry : inner_entries()) {
    for (const auto& given : variants(*entry))
      cases.push_back(
          {cat(entry->name, given.empty() ? "" : " moved"), make_inner(entry->name, given)});
  }
  return cases;
}

// The first place from `cut` on that cuts no tensor which is taken whole.
int64_t allowed(const InnerOptimizer& optimizer, const Layout& layout, int64_t cut) {
  for (const TensorSpec& tensor : layout.tensors()) {
    const int64_t end = tensor.offset + tensor.size;
    if (cut > tensor.offset && cut < end && optimizer.takes_whole(tensor)) return end;
  }
  return cut;
}

// `steps` steps over the ranges that `cuts` make; the parameters at the end.
std::vector<float> run(const InnerOptimizer& optimizer, const Layout& layout, int64_t first,
                       int64_t last, const std::set<int64_t>& cuts, InnerState& state,
                       std::vector<float> params) {
  OwnWorkspace workspace(optimizer, layout);
  std::set<int64_t> ends;
  for (int64_t cut : cuts) ends.insert(allowed(optimizer, layout, cut));
  ends.insert(layout.size());
  for (int64_t t = first; t < last; ++t) {
    const std::vector<float> gradient = normals(layout.size(), 300 + t);
    state.steps = t + 1;
    int64_t begin = 0;
    for (int64_t end : ends) {
      optimizer.update(layout, begin, end, gradient, 0.5F, 0.01, state, params, workspace.lent());
      begin = end;
    }
  }
  return params;
}

TEST(InnerConformance, EntriesAreDescribed) {
  std::set<std::string> names;
  for (const InnerEntry* entry : inner_entries()) {
    EXPECT_TRUE(names.insert(entry->name).second) << entry->name;
    EXPECT_FALSE(entry->summary.empty());
    EXPECT_FALSE(entry->formula.empty());
    EXPECT_FALSE(entry->source.empty());
    for (const OptionSpec& spec : entry->options) {
      EXPECT_FALSE(spec.meaning.empty()) << entry->name << "." << spec.name;
      EXPECT_TRUE(check_option(entry->name, spec, spec.default_value).ok()) << spec.name;
    }
  }
}

TEST(InnerConformance, UnknownNamesAndOptionsAreRefused) {
  const auto unknown = try_inner("adamv", {});
  EXPECT_EQ(unknown.status().code(), absl::StatusCode::kNotFound);
  EXPECT_NE(unknown.status().message().find("adamw"), absl::string_view::npos);
  for (const InnerEntry* entry : inner_entries()) {
    EXPECT_EQ(try_inner(entry->name, {{"no_such_option", 1.0}}).status().code(),
              absl::StatusCode::kInvalidArgument);
    for (const OptionSpec& spec : entry->options) {
      for (double outside : {spec.min - 1, spec.max * 2 + 1, std::nan("")}) {
        EXPECT_EQ(try_inner(entry->name, {{spec.name, outside}}).status().code(),
                  absl::StatusCode::kInvalidArgument)
            << entry->name << "." << spec.name << " = " << outside;
      }
    }
  }
}

RC_GTEST_PROP(InnerConformance, AnySplitIntoRangesGivesTheSameBits, ()) {
  const Layout layout = four_roles(70);
  std::set<int64_t> cuts;
  const auto count = *rc::gen::inRange(0, 12);
  for (int i = 0; i < count; ++i) cuts.insert(*rc::gen::inRange<int64_t>(0, layout.size()));
  for (const Case& c : all_cases()) {
    InnerState whole = c.optimizer->make_state(layout.size());
    InnerState pieces = c.optimizer->make_state(layout.size());
    const std::vector<float> start = normals(layout.size(), 1);
    const auto a = run(*c.optimizer, layout, 0, 3, {}, whole, start);
    const auto b = run(*c.optimizer, layout, 0, 3, cuts, pieces, start);
    RC_ASSERT(a == b);
    RC_ASSERT(whole.planes == pieces.planes);
  }
}

RC_GTEST_PROP(InnerConformance, PiecesAreTheWholeBufferAndCutNoWholeTensor, ()) {
  Layout layout;
  const auto count = *rc::gen::inRange(1, 8);
  for (int i = 0; i < count; ++i) {
    const auto role =
        *rc::gen::element(TensorRole::kMatrix, TensorRole::kEmbedding, TensorRole::kNorm);
    layout.add(cat("t", i),
               {*rc::gen::inRange<int64_t>(1, 300), *rc::gen::inRange<int64_t>(1, 300)}, role);
  }
  for (const Case& c : all_cases()) {
    std::vector<UpdatePiece> pieces = c.optimizer->pieces(layout);
    std::ranges::sort(pieces, std::less(), &UpdatePiece::begin);
    int64_t at = 0;
    for (const UpdatePiece& piece : pieces) {
      RC_ASSERT(piece.begin == at);
      RC_ASSERT(piece.end > at);
      at = piece.end;
      RC_ASSERT(allowed(*c.optimizer, layout, at) == at);
    }
    RC_ASSERT(at == layout.size());
  }
}

TEST(InnerConformance, AGradientThatLiesElsewhereGivesTheSameBits) {
  const Layout layout = four_roles(70);
  for (const Case& c : all_cases()) {
    InnerState flat = c.optimizer->make_state(layout.size());
    InnerState apart = c.optimizer->make_state(layout.size());
    const std::vector<float> start = normals(layout.size(), 1);
    const auto want = run(*c.optimizer, layout, 0, 1, {}, flat, start);
    std::vector<float> got = start;
    OwnWorkspace workspace(*c.optimizer, layout);
    const std::vector<float> gradient = normals(layout.size(), 300);
    apart.steps = 1;
    for (const TensorSpec& tensor : layout.tensors()) {
      const std::vector<float> own(gradient.begin() + tensor.offset,
                                   gradient.begin() + tensor.offset + tensor.size);
      if (c.optimizer->takes_whole(tensor)) {
        c.optimizer->update_whole(tensor, own, 0.5F, 0.01, apart, got, workspace.lent());
      } else {
        c.optimizer->update_range(tensor.role, tensor.offset, own, 0.5F, 0.01, apart, got);
      }
    }
    EXPECT_EQ(got, want) << c.name;
    EXPECT_EQ(apart.planes, flat.planes) << c.name;
  }
}

TEST(InnerConformance, SavedAndRestoredInMidRunItContinuesToTheSameBits) {
  const Layout layout = four_roles(70);
  for (const Case& c : all_cases()) {
    const std::vector<float> start = normals(layout.size(), 1);
    InnerState straight = c.optimizer->make_state(layout.size());
    const auto want = run(*c.optimizer, layout, 0, 6, {}, straight, start);

    InnerState before = c.optimizer->make_state(layout.size());
    const auto middle = run(*c.optimizer, layout, 0, 3, {}, before, start);
    StateImage image;
    StateSaver saver(image, "inner.");
    before.walk_state(saver);
    InnerState after = c.optimizer->make_state(layout.size());
    StateRestorer restorer(image, "inner.");
    after.walk_state(restorer);
    ASSERT_TRUE(restorer.status().ok()) << restorer.status();
    EXPECT_EQ(after.steps, 3);
    EXPECT_EQ(run(*c.optimizer, layout, 3, 6, {}, after, middle), want) << c.name;
    EXPECT_EQ(after.planes, straight.planes) << c.name;
  }
}

TEST(InnerConformance, AZeroGradientFromZeroStateMovesNothingThatIsNotDecayed) {
  const Layout layout = four_roles(70);
  const std::vector<float> zero(layout.size(), 0.0F);
  for (const Case& c : all_cases()) {
    InnerState state = c.optimizer->make_state(layout.size());
    std::vector<float> params = normals(layout.size(), 1);
    const std::vector<float> start = params;
    state.steps = 1;
    OwnWorkspace workspace(*c.optimizer, layout);
    c.optimizer->update(layout, 0, layout.size(), zero, 1.0F, 0.01, state, params,
                        workspace.lent());
    for (const TensorSpec& tensor : layout.tensors()) {
      for (int64_t i = tensor.offset; i < tensor.offset + tensor.size && !is_decayed(tensor.role);
           ++i)
        EXPECT_EQ(params[i], start[i]) << c.name << " " << tensor.name;
    }
  }
}

TEST(ClipFactor, BringsTheNormDownAndNeverUp) {
  EXPECT_EQ(clip_factor(4, 1), 0.25);
  EXPECT_EQ(clip_factor(0.5, 1), 1);
  EXPECT_EQ(clip_factor(0, 1), 1);
  EXPECT_EQ(clip_factor(1e6, 0), 1);  // 0: never
}

}  // namespace
}  // namespace rubato

// Where a chain reads its delta: any source of the same floats gives the same bits, and a group's
// sum is the one that a pass over whole buffers would make.
#include "rubato/outer/delta_source.h"

#include <algorithm>

#include "tests/outer/fixtures.h"
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace rubato::testing {
namespace {

// Has no floats of its own to point at.
class CopiedDelta final : public DeltaSource {
 public:
  explicit CopiedDelta(const Floats& values) : values_(values) {}
  int64_t size() const override { return std::ssize(values_); }
  const float* block(int64_t offset, int64_t size, float* scratch) const override {
    std::copy_n(values_.begin() + offset, size, scratch);
    return scratch;
  }

 private:
  const Floats& values_;
};

// Behind scratch that holds something, read in blocks of up to `most` floats.
Floats read(const DeltaSource& source, int64_t most) {
  Floats values, scratch(static_cast<size_t>(kBlockFloats), 1e30f);
  for (int64_t offset = 0; offset < source.size(); offset += most) {
    const int64_t size = std::min(most, source.size() - offset);
    const float* block = source.block(offset, size, scratch.data());
    values.insert(values.end(), block, block + size);
  }
  return values;
}

TEST(PlainDelta, IsReadWhereItLies) {
  const Floats values = random_floats(5000, 1);
  float scratch = 7;
  EXPECT_EQ(PlainDelta(values).block(4321, 1, &scratch), &values[4321]);
  EXPECT_EQ(scratch, 7);
  EXPECT_EQ(PlainDelta(values).size(), 5000);
}

RC_GTEST_PROP(WeightedSum, IsTheSumInTheMembersOrderHoweverItIsCut, ()) {
  const auto size = *rc::gen::inRange<int64_t>(1, 3 * kBlockFloats);
  const auto count = *rc::gen::inRange<size_t>(1, 5);
  std::vector<Floats> deltas;
  std::vector<double> weights;
  for (uint64_t i = 0; i < count; ++i) {
    deltas.push_back(random_floats(size, 10 + i));
    weights.push_back(*rc::gen::element(1.0, 0.25, 1.0 / 3, -2.0));
  }
  Floats want(static_cast<size_t>(size));
  std::vector<PlainDelta> plain;
  std::vector<CopiedDelta> copied;
  for (size_t i = 0; i < count; ++i) {
    add_scaled(static_cast<float>(weights[i]), deltas[i], want);
    plain.emplace_back(deltas[i]);
    copied.emplace_back(deltas[i]);
  }
  std::vector<WeightedSum::Member> members;
  for (size_t i = 0; i < count; ++i) {
    const DeltaSource* either = &plain[i];
    if (*rc::gen::arbitrary<bool>()) either = &copied[i];
    members.push_back({weights[i], either});
  }
  const WeightedSum sum(members);
  RC_ASSERT(same_bits(read(sum, kBlockFloats), want));
  RC_ASSERT(same_bits(read(sum, *rc::gen::inRange<int64_t>(1, 1000)), want));
}

TEST(WeightedSum, OfSumsIsASum) {
  const Floats x = random_floats(100, 1), y = random_floats(100, 2);
  const PlainDelta plain_x(x), plain_y(y);
  const WeightedSum::Member inner[] = {{0.5, &plain_x}, {0.5, &plain_y}};
  const WeightedSum mean(inner);
  const WeightedSum::Member outer[] = {{2.0, &mean}, {-1.0, &plain_y}};
  const Floats values = read(WeightedSum(outer), 100);
  for (size_t i = 0; i < 100; ++i) EXPECT_NEAR(values[i], x[i], 1e-6);
}

TEST(WeightedSumDeathTest, MembersAreOfOneSize) {
  const Floats x(3), y(4);
  const PlainDelta plain_x(x), plain_y(y);
  const WeightedSum::Member unequal[] = {{1.0, &plain_x}, {1.0, &plain_y}};
  EXPECT_DEATH(WeightedSum{unequal}, "CHECK failed");
  EXPECT_DEATH(WeightedSum{{}}, "CHECK failed");
}

// Clip reads the delta twice, the links write over scratch of their own.
TEST(Chain, DoesNotCareWhereTheDeltaLies) {
  const Layout layout = wide_layout();
  const OptionMap options = {{"clip", {{"max_norm", 2.0}}}};
  const auto plain = make_chain(layout, 3, {"weight", "clip"}, "delayed_nesterov", options);
  const auto copied = make_chain(layout, 3, {"weight", "clip"}, "delayed_nesterov", options);
  Floats x = random_floats(layout.size(), 1), y = x;
  ThreadPool pool(3);
  for (uint64_t i = 0; i < 4; ++i) {
    const Floats delta = random_floats(layout.size(), 10 + i);
    plain->apply(PlainDelta(delta), {}, {}, x, nullptr);
    copied->apply(CopiedDelta(delta), {}, {}, y, &pool);
  }
  EXPECT_TRUE(same_bits(x, y));
  EXPECT_EQ(state_of(*plain), state_of(*copied));
}

}  // namespace
}  // namespace rubato::testing

#include "rubato/codec/error_feedback.h"

#include <cmath>

#include "tests/codec/fixtures.h"
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "rubato/base/rng.h"

namespace rubato::testing {
namespace {

constexpr int64_t kSize = 20'011;  // two chunks and a short block of every codec

// One worker's feedback, and what the coordinator decodes.
struct Sender {
  explicit Sender(std::shared_ptr<const Codec> codec, int64_t size = kSize)
      : feedback(std::move(codec), size),
        encoded(static_cast<size_t>(feedback.codec().encoded_bytes(size))) {}

  Floats send(const Floats& delta, ThreadPool* pool = nullptr) {
    feedback.encode(delta, encoded, pool);
    return decode(feedback.codec(), encoded, 0, std::ssize(delta));
  }
  Floats residual() const { return {feedback.residual().begin(), feedback.residual().end()}; }

  ErrorFeedback feedback;
  Bytes encoded;
};

StateImage state_of(Sender& sender) {
  StateImage image;
  StateSaver saver(image);
  sender.feedback.walk_state(saver);
  return image;
}

TEST(ErrorFeedback, IsItsFormula) {
  for (CodecCase& one : codec_cases()) {
    SCOPED_TRACE(one.title);
    Sender sender(std::move(one.codec));
    if (sender.feedback.codec().lossless()) continue;
    for (uint64_t round = 0; round < 3; ++round) {
      const Floats delta = random_floats(kSize, round);
      Floats compensated = sender.residual();
      for (size_t i = 0; i < compensated.size(); ++i) compensated[i] = delta[i] + compensated[i];
      const Floats decoded = sender.send(delta);
      EXPECT_TRUE(same_bits(decoded, sent(sender.feedback.codec(), compensated)));
      sender.feedback.commit();
      for (size_t i = 0; i < compensated.size(); ++i) compensated[i] -= decoded[i];
      EXPECT_TRUE(same_bits(sender.residual(), compensated));
    }
  }
}

// sum of what was applied = sum of the deltas that were applied + first residual - last residual.
RC_GTEST_PROP(ErrorFeedback, WhatWasAppliedSumsToTheDeltasAndTheResiduals, ()) {
  auto cases = codec_cases();
  const auto which = *rc::gen::inRange<size_t>(0, cases.size());
  const auto size = *rc::gen::inRange<int64_t>(1, 3000);
  const auto fates = *rc::gen::container<std::vector<bool>>(12, rc::gen::arbitrary<bool>());
  Sender sender(std::move(cases[which].codec), size);
  const std::vector<double> none(static_cast<size_t>(size));
  std::vector<double> deltas = none, applied = none, first = none, largest = none;
  for (size_t round = 0; round < fates.size(); ++round) {
    const Floats delta = random_floats(size, 100 + round), before = sender.residual();
    if (round == 3) first.assign(before.begin(), before.end()), deltas = applied = none;
    first.resize(static_cast<size_t>(size));
    const Floats decoded = sender.send(delta);
    if (!fates[round]) {
      sender.feedback.roll_back();
      RC_ASSERT(same_bits(sender.residual(), before));
      continue;
    }
    sender.feedback.commit();
    for (size_t i = 0; i < delta.size(); ++i) {
      deltas[i] += delta[i];
      applied[i] += decoded[i];
      largest[i] +=
          std::abs(delta[i]) + std::abs(decoded[i]) + (before.empty() ? 0 : std::abs(before[i]));
    }
  }
  Floats last = sender.residual();
  last.resize(static_cast<size_t>(size));
  for (size_t i = 0; i < last.size(); ++i) {
    // One rounding of the sum and one of the difference, each round.
    RC_ASSERT(std::abs(applied[i] - (deltas[i] + first[i] - last[i])) <= 0x1p-22 * largest[i]);
  }
}

// The codec's point: with feedback a tenth of the values carries all of the sum in the end.
TEST(ErrorFeedback, WhatTopKLeavesOutComesLater) {
  Sender sender(codec_of("top_k", {{"share", 0.1}, {"block", int64_t{64}}}), 64);
  const Floats delta = random_floats(64, 1);
  constexpr int kRounds = 400;
  std::vector<double> applied(64);
  for (int round = 0; round < kRounds; ++round) {
    const Floats decoded = sender.send(delta);
    sender.feedback.commit();
    for (size_t i = 0; i < applied.size(); ++i) applied[i] += decoded[i] / double{kRounds};
  }
  float largest = 0;
  for (const float value : delta) largest = std::max(largest, std::abs(value));
  for (size_t i = 0; i < applied.size(); ++i) EXPECT_NEAR(applied[i], delta[i], 0.05 * largest);
}

TEST(ErrorFeedback, ARejectedDeltaLeavesEveryBitAndTheNextGoesOutAsIfThereHadBeenNone) {
  for (const CodecEntry* entry : codec_entries()) {
    SCOPED_TRACE(entry->name);
    Sender disturbed(codec_of(entry->name)), calm(codec_of(entry->name));
    Floats poison = random_floats(kSize, 50);
    poison[7] = std::nanf("");
    for (uint64_t round = 0; round < 4; ++round) {
      disturbed.send(round == 2 ? poison : random_floats(kSize, 60 + round));
      disturbed.feedback.roll_back();
      const Floats delta = random_floats(kSize, round);
      EXPECT_TRUE(same_bits(disturbed.send(delta), calm.send(delta)));
      disturbed.feedback.commit();
      calm.feedback.commit();
      EXPECT_EQ(state_of(disturbed), state_of(calm));
    }
  }
}

TEST(ErrorFeedback, ThreadsDoNotMatter) {
  ThreadPool pool(3);
  for (const CodecEntry* entry : codec_entries()) {
    Sender alone(codec_of(entry->name), 200'001), pooled(codec_of(entry->name), 200'001);
    for (uint64_t round = 0; round < 2; ++round) {
      const Floats delta = random_floats(200'001, round);
      alone.send(delta);
      pooled.send(delta, &pool);
      EXPECT_EQ(alone.encoded, pooled.encoded);
      EXPECT_EQ(state_of(alone), state_of(pooled));
      alone.feedback.commit();
      pooled.feedback.commit();
    }
  }
}

// A worker may stop at any moment, with an answer due or not, and hear the answer afterwards.
TEST(ErrorFeedback, GoesOnFromItsSavedState) {
  for (const bool applied : {false, true}) {
    Sender original(codec_of("int4"));
    original.send(random_floats(kSize, 1));
    original.feedback.commit();
    for (const bool pending : {false, true}) {
      if (pending) original.send(random_floats(kSize, 2));
      const StateImage image = state_of(original);
      Sender restored(codec_of("int4"));
      StateRestorer restorer(image);
      restored.feedback.walk_state(restorer);
      ASSERT_TRUE(restorer.status().ok()) << restorer.status();
      EXPECT_EQ(restored.feedback.pending(), pending);
      EXPECT_EQ(state_of(restored), image);
      if (!pending) continue;
      for (Sender* sender : {&original, &restored}) {
        applied ? sender->feedback.commit() : sender->feedback.roll_back();
      }
      EXPECT_EQ(state_of(restored), state_of(original));
      EXPECT_EQ(restored.send(random_floats(kSize, 3)), original.send(random_floats(kSize, 3)));
    }
  }
}

TEST(ErrorFeedback, ItsStateIsOneFloatAParameterAndAnotherWhileAnAnswerIsDue) {
  const auto floats = [](Sender& sender) {
    PlaneFloatCounter counter;
    sender.feedback.walk_state(counter);
    return counter.floats;
  };
  Sender lossy(codec_of("top_k")), lossless(codec_of("fp32"));
  EXPECT_EQ(floats(lossy), kSize);
  lossy.send(random_floats(kSize, 1));
  EXPECT_EQ(floats(lossy), 2 * kSize);
  lossless.send(random_floats(kSize, 1));
  EXPECT_EQ(floats(lossless), 0);
}

TEST(ErrorFeedback, AStateThatCannotBeIsRefused) {
  Sender sender(codec_of("int8"));
  StateImage image = state_of(sender);
  const int64_t two = 2;
  image["pending"] = std::string(reinterpret_cast<const char*>(&two), sizeof two);
  StateRestorer restorer(image);
  sender.feedback.walk_state(restorer);
  EXPECT_EQ(restorer.status().message(), "[error feedback] pending: got 2, want 0 or 1");
  EXPECT_FALSE(sender.feedback.pending());
}

TEST(ErrorFeedbackDeathTest, OneAnswerForOneDelta) {
  Sender sender(codec_of("bf16"), 10);
  EXPECT_DEATH(sender.feedback.commit(), "no delta is on its way");
  EXPECT_DEATH(sender.feedback.roll_back(), "no delta is on its way");
  sender.send(Floats(10));
  EXPECT_DEATH(sender.send(Floats(10)), "the answer to the last delta is not known");
  sender.feedback.commit();
  EXPECT_DEATH(sender.feedback.commit(), "no delta is on its way");
}

}  // namespace
}  // namespace rubato::testing

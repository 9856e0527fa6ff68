#include "rubato/text/text_sample.h"

#include <gtest/gtest.h>

#include "rubato/base/text.h"
#include "rubato/text/document_split.h"
#include "rubato/text/utf8.h"

namespace rubato {
namespace {

const auto kAll = [](int64_t) { return true; };

std::string document(int64_t number) {
  std::string text;
  for (int64_t line = 0; line < 300; ++line) {
    text += cat("Document ", number, " has a line ", line, "\n", line % 7 == 0 ? "\n" : "");
  }
  return text;
}

TEST(TextSample, SmallTextIsTakenWholeAndInOrder) {
  TextSample sample(1, 1 << 20);
  std::string all;
  for (int64_t i = 0; i < 5; ++i) {
    sample.add(i, document(i));
    all += document(i);
  }
  std::string joined;
  for (const std::string& passage : sample.take(kAll)) {
    EXPECT_LE(passage.size(), 4096u);
    joined += passage;
  }
  EXPECT_EQ(joined, all);
}

TEST(TextSample, LargeTextIsSampledFromEverywhereWithinTheBudget) {
  TextSample sample(1, 100000), other_seed(2, 100000);
  for (int64_t i = 0; i < 200; ++i) {
    sample.add(i, document(i));
    other_seed.add(i, document(i));
  }
  const auto passages = sample.take(kAll);
  size_t bytes = 0, late = 0;
  for (const std::string& passage : passages) {
    bytes += passage.size();
    if (passage.find("Document 1") != passage.npos) ++late;  // 1, 10 to 19, 100 to 199
  }
  EXPECT_LE(bytes, 100000u);
  EXPECT_GT(bytes, 95000u);
  EXPECT_GT(late, passages.size() / 3);
  EXPECT_LT(late, passages.size() * 3 / 4);
  EXPECT_NE(other_seed.take(kAll), passages);
}

TEST(TextSample, TakesOnlyWantedDocuments) {
  TextSample sample(1, 1 << 20);
  sample.add(0, "zero");
  sample.add(1, "one");
  sample.add(2, "two");
  EXPECT_EQ(sample.take([](int64_t i) { return i != 1; }),
            (std::vector<std::string>{"zero", "two"}));
}

TEST(TextSample, TextWithoutLinesIsCutBetweenCharacters) {
  std::string text;
  for (int i = 0; i < 5000; ++i) text += "\xE8\xA8\x80";
  TextSample sample(1, 1 << 20);
  sample.add(0, text);
  const auto passages = sample.take(kAll);
  EXPECT_GT(passages.size(), 2u);
  for (const std::string& passage : passages) {
    EXPECT_EQ(valid_utf8_prefix(passage), passage.size());
  }
}

TEST(ValidationSplit, HoldsBackTheFractionFromEverywhere) {
  const ValidationSplit split(5, 0.05, 2000);
  int64_t first_half = 0, second_half = 0;
  for (int64_t i = 0; i < 2000; ++i) {
    if (split.is_validation(i)) ++(i < 1000 ? first_half : second_half);
  }
  EXPECT_EQ(first_half, 50);
  EXPECT_EQ(second_half, 50);
}

TEST(ValidationSplit, FewDocumentsStillSplit) {
  for (int64_t documents = 2; documents < 30; ++documents) {
    for (uint64_t seed = 0; seed < 20; ++seed) {
      const ValidationSplit split(seed, 0.05, documents);
      int64_t held_back = 0;
      for (int64_t i = 0; i < documents; ++i) held_back += split.is_validation(i);
      EXPECT_GE(held_back, 1);
      EXPECT_LT(held_back, documents);
    }
  }
  EXPECT_FALSE(ValidationSplit(0, 0.05, 1).is_validation(0));
  EXPECT_FALSE(ValidationSplit(0, 0, 100).is_validation(7));
}

TEST(ShardDealer, ShardsEndAboutEqualWhateverTheSizes) {
  for (uint64_t seed = 0; seed < 10; ++seed) {
    ShardDealer dealer(seed, 3, 100);
    std::vector<int64_t> bytes(3, 0);
    for (int64_t i = 0; i < 500; ++i) {
      const int64_t size = i % 50 == 0 ? 1000 : 82;
      const int64_t shard = dealer.deal(i, size);
      ASSERT_TRUE(shard >= 0 && shard < 3);
      bytes[static_cast<size_t>(shard)] += size;
    }
    const auto [low, high] = std::minmax_element(bytes.begin(), bytes.end());
    EXPECT_LE(*high - *low, 1000 + 100) << "one document and the slack";
  }
}

}  // namespace
}  // namespace rubato

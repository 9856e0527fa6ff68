#include "rubato/text/tokenizer.h"

#include <numeric>

#include "tests/text/sample_text.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "rubato/base/rng.h"
#include "rubato/text/byte_vocabulary.h"
#include "rubato/text/sentencepiece_loader.h"
#include "rubato/text/utf8.h"

namespace rubato {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<int32_t> encode(const Tokenizer& tokenizer, std::string_view text) {
  std::vector<int32_t> tokens;
  EXPECT_TRUE(tokenizer.encode(text, tokens).ok());
  return tokens;
}

/// One tokenizer for all tests: training takes a moment.
const Tokenizer& trained() {
  static const auto tokenizer = Tokenizer::train(sample_passages(), 400).value();
  return *tokenizer;
}

const Tokenizer& bytes() {
  static const auto tokenizer = Tokenizer::bytes().value();
  return *tokenizer;
}

void put_utf8(std::string& out, uint32_t c) {
  if (c < 0x80) {
    out.push_back(static_cast<char>(c));
    return;
  }
  if (c < 0x800) {
    out.push_back(static_cast<char>(0xC0 | c >> 6));
  } else {
    if (c < 0x10000) {
      out.push_back(static_cast<char>(0xE0 | c >> 12));
    } else {
      out.push_back(static_cast<char>(0xF0 | c >> 18));
      out.push_back(static_cast<char>(0x80 | (c >> 12 & 63)));
    }
    out.push_back(static_cast<char>(0x80 | (c >> 6 & 63)));
  }
  out.push_back(static_cast<char>(0x80 | (c & 63)));
}

/// Text in which what is hard is frequent: runs of whitespace, sentencepiece's own marks, specials
/// spelt out, bytes of other scripts and planes.
std::string random_text(uint64_t seed, bool valid) {
  static const std::vector<std::string> kHard = {" ",
                                                 "  ",
                                                 "\n",
                                                 "\n\n",
                                                 "\t",
                                                 "\r\n",
                                                 "\xE2\x96\x81",
                                                 "<s>",
                                                 "</s>",
                                                 "<unk>",
                                                 "<0x0A>",
                                                 "worker",
                                                 std::string(1, '\0'),
                                                 "\xE2\x96\x85",
                                                 "\xEF\xBB\xBF",
                                                 "\xEF\xBF\xBD",
                                                 "e\xCC\x81",
                                                 "\xEF\xAC\x81"};
  Rng rng(seed, RngStream::kTest);
  std::string text;
  for (uint64_t n = rng.below(40); n > 0; --n) {
    switch (rng.below(valid ? 4 : 5)) {
      case 0:
        text += kHard[rng.below(kHard.size())];
        break;
      case 1:
        put_utf8(text, static_cast<uint32_t>(rng.below(0xD800)));
        break;
      case 2:
        put_utf8(text, static_cast<uint32_t>(0xE000 + rng.below(0x110000 - 0xE000)));
        break;
      case 3:
        text += static_cast<char>(' ' + rng.below(95));
        break;
      default:
        text += static_cast<char>(rng.below(256));
    }
  }
  return text;
}

RC_GTEST_PROP(Tokenizer, AnyUnicodeTextSurvivesTheRoundTrip, (uint64_t seed)) {
  const std::string text = random_text(seed, /*valid=*/true);
  RC_ASSERT(valid_utf8_prefix(text) == text.size());
  RC_ASSERT(trained().decode(encode(trained(), text)) == text);
  RC_ASSERT(bytes().decode(encode(bytes(), text)) == text);
}

RC_GTEST_PROP(Tokenizer, AnyBytesSurviveTheRoundTrip, (uint64_t seed)) {
  const std::string text = random_text(seed, /*valid=*/false);
  RC_ASSERT(trained().decode(encode(trained(), text)) == text);
  RC_ASSERT(bytes().decode(encode(bytes(), text)) == text);
}

RC_GTEST_PROP(Tokenizer, TextNeverBecomesASpecialToken, (uint64_t seed)) {
  for (const int32_t token : encode(trained(), random_text(seed, false))) RC_ASSERT(token >= 3);
}

RC_GTEST_PROP(Tokenizer, RememberedWordsGiveTheSameTokens, (uint64_t seed)) {
  static CachedEncoder encoder(trained());
  const std::string text = random_text(seed, false) + sample_passages()[seed % 3];
  std::vector<int32_t> tokens;
  RC_ASSERT(encoder.encode(text, tokens).ok());
  RC_ASSERT(tokens == encode(trained(), text));
}

// What other programs that read the model will do: the whole text through sentencepiece at once.
RC_GTEST_PROP(Tokenizer, AgreesWithSentencepieceWhereThatKeepsText, (uint64_t seed)) {
  std::string text = random_text(seed, /*valid=*/true) + sample_passages()[seed % 3];
  while (text.size() < 18000) text += text;  // longer than a part
  for (size_t at; (at = text.find("\xE2\x96\x81")) != text.npos;) text.erase(at, 3);
  std::string error;
  const auto model = sentencepiece_library().value()->load(trained().model(), error);
  std::vector<int> whole;
  RC_ASSERT(model->encode(text, whole, error));
  const auto tokens = encode(trained(), text);
  RC_ASSERT(std::vector<int>(tokens.begin(), tokens.end()) == whole);
}

TEST(Tokenizer, KeepsWhitespaceAsItIs) {
  for (const std::string text :
       {"", " ", "  a", "a\n\nb", "\ta \t b\n", " leading", "trailing  "}) {
    EXPECT_EQ(trained().decode(encode(trained(), text)), text);
  }
  EXPECT_THAT(encode(trained(), ""), ElementsAre());
}

TEST(Tokenizer, LearnsNewlinesAndWords) {
  const auto tokens = encode(trained(), " the worker\n");
  EXPECT_LT(tokens.size(), 8u) << "12 characters";
  EXPECT_GE(encode(trained(), "\n")[0], 3 + 256) << "a newline has a piece of its own";
}

TEST(Tokenizer, TheSameTextGivesTheSameModel) {
  const auto again = Tokenizer::train(sample_passages(), 400).value();
  EXPECT_EQ(again->model(), trained().model());
  EXPECT_EQ(again->vocab_size(), 400);
}

TEST(Tokenizer, BytesAreThreeAboveThemselves) {
  EXPECT_EQ(bytes().vocab_size(), 259);
  EXPECT_THAT(encode(bytes(), "A \n\xFF"), ElementsAre(3 + 'A', 3 + ' ', 3 + '\n', 3 + 255));
  EXPECT_EQ(bytes().bytes_of(Tokenizer::kBos), "");
  EXPECT_EQ(bytes().bytes_of(3 + 'z'), "z");
}

TEST(Tokenizer, SentencepieceReadsTheByteVocabularyTheSameWay) {
  std::string error;
  const auto model = sentencepiece_library().value()->load(byte_vocabulary_model(), error);
  ASSERT_NE(model, nullptr) << error;
  std::vector<int> ids;
  const std::string text = "a  b\n\t\xC3\xA9";
  ASSERT_TRUE(model->encode(text, ids, error)) << error;
  const auto tokens = encode(bytes(), text);
  EXPECT_EQ(ids, std::vector<int>(tokens.begin(), tokens.end()));
}

TEST(Tokenizer, SpecialTokensDecodeToNothing) {
  EXPECT_EQ(trained().decode(std::vector<int32_t>{Tokenizer::kBos, Tokenizer::kEos}), "");
}

TEST(Tokenizer, RefusesWhatIsNoModel) {
  const auto status = Tokenizer::from_model("not a model").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("want a sentencepiece model"));
  EXPECT_FALSE(Tokenizer::from_model("").ok());
}

TEST(Tokenizer, RefusesModelsThatChangeText) {
  const auto model_with = [](std::string flag, std::string value) {
    std::vector<std::pair<std::string, std::string>> flags = {
        {"model_type", "bpe"},
        {"vocab_size", "400"},
        {"byte_fallback", "true"},
        {"normalization_rule_name", "identity"},
        {"add_dummy_prefix", "false"},
        {"remove_extra_whitespaces", "false"},
        {std::move(flag), std::move(value)}};
    std::string error;
    std::string model = sentencepiece_library().value()->train(flags, sample_passages(), error);
    EXPECT_FALSE(model.empty()) << error;
    return Tokenizer::from_model(model).status();
  };
  EXPECT_TRUE(model_with("split_digits", "true").ok()) << "changes pieces, not text";
  for (const auto& [flag, value] :
       std::vector<std::pair<std::string, std::string>>{{"add_dummy_prefix", "true"},
                                                        {"remove_extra_whitespaces", "true"},
                                                        {"normalization_rule_name", "nmt_nfkc"}}) {
    EXPECT_THAT(std::string(model_with(flag, value).message()), HasSubstr("changes text")) << flag;
  }
  EXPECT_THAT(std::string(model_with("byte_fallback", "false").message()),
              HasSubstr("byte_fallback"));
}

TEST(Tokenizer, SaysWhenTheTextIsTooSmallForTheVocabulary) {
  const auto status = Tokenizer::train({"a few words, a few words\n"}, 4000).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("4000 pieces"));
  EXPECT_EQ(status.message().find('\n'), absl::string_view::npos);
  EXPECT_FALSE(Tokenizer::train({}, 400).ok());
}

}  // namespace
}  // namespace rubato

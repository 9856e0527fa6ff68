#include "rubato/app/describe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace rubato {
namespace {

using ::testing::HasSubstr;

TEST(Describe, CoversEveryEntryOfEveryRegistry) {
  const std::string overview = *describe_text({});
  const nlohmann::ordered_json json = *describe_json({});
  ASSERT_EQ(json["kinds"].size(), catalogue().size());
  for (const CatalogueKind& kind : catalogue()) {
    ASSERT_FALSE(kind.entries.empty()) << kind.name;
    for (const Description& entry : kind.entries) {
      EXPECT_THAT(overview, HasSubstr(cat("  ", entry.name, " ")));
      const StatusOr<std::string> full = describe_text({kind.name, entry.name});
      ASSERT_TRUE(full.ok()) << full.status();
      EXPECT_THAT(*full, HasSubstr(cat(kind.name, " ", entry.name, ": ", entry.summary)));
      EXPECT_THAT(*full, HasSubstr(entry.source));
      for (const OptionSpec& spec : entry.options) {
        EXPECT_THAT(*full, HasSubstr(cat("  ", spec.name, " = ")));
        EXPECT_THAT(*full, HasSubstr(spec.meaning));
        EXPECT_THAT(*full, HasSubstr(want_text(spec)));
      }
    }
  }
}

TEST(Describe, EveryOptionSaysWhatItMeansAndInWhichUnit) {
  const auto schema = RecipeSchema::make(catalogue());
  for (const RecipeSection& section : schema->sections()) {
    EXPECT_FALSE(section.meaning.empty()) << section.name;
    for (const OptionSpec& spec : section.options) {
      EXPECT_FALSE(spec.meaning.empty()) << section.name << "." << spec.name;
      EXPECT_EQ(spec.meaning.find('\n'), std::string::npos) << section.name << "." << spec.name;
      const bool number = spec.kind == OptionKind::kInteger || spec.kind == OptionKind::kReal ||
                          spec.kind == OptionKind::kReals;
      EXPECT_EQ(number, !spec.unit.empty()) << section.name << "." << spec.name;
      if (spec.optional) continue;
      EXPECT_TRUE(check_option("test", spec, spec.default_value).ok())
          << section.name << "." << spec.name;
    }
  }
}

TEST(Describe, OneEntryShowsItsCostsAndOptions) {
  const std::string text = *describe_text({"rule", "delayed_nesterov"});
  EXPECT_THAT(text, HasSubstr("memory: 2 floats per parameter"));
  EXPECT_THAT(text, HasSubstr("options in [outer.delayed_nesterov]:"));
  EXPECT_THAT(*describe_text({"link", "delay_compensation"}),
              HasSubstr("keeps the parameters that every outstanding task started from"));
  EXPECT_THAT(*describe_text({"method", "dn-dylu"}), HasSubstr("sets policy.kind = \"dylu\""));
}

TEST(Describe, CodecsSayWhatTheyMakeOfAValue) {
  EXPECT_THAT(*describe_text({"codec", "int4"}), HasSubstr("4.5 bits a value, in blocks of 64"));
  EXPECT_THAT(*describe_text({"fp32", ""}), HasSubstr("loses nothing"));
  EXPECT_THAT(*describe_text({"codec", "top_k"}), HasSubstr("chosen by codec.up"));
  EXPECT_THAT(*describe_text({"codec", "top_k"}),
              HasSubstr("options in [codec.top_k]:\n  share = 0.01"));
  EXPECT_THAT(*describe_text({"recipe", "codec"}), HasSubstr("down = \"fp32\""));
}

TEST(Describe, ANameAloneIsFoundInEveryKind) {
  const std::string text = *describe_text({"dylu", ""});
  EXPECT_THAT(text, HasSubstr("method dylu:"));
  EXPECT_THAT(text, HasSubstr("policy dylu:"));
}

TEST(Describe, RecipeSectionsAreDescribedToo) {
  EXPECT_THAT(*describe_text({"recipe", "train"}), HasSubstr("local_steps = 50"));
  const nlohmann::ordered_json json = *describe_json({"recipe", "lr"});
  ASSERT_EQ(json["recipe"].size(), 1u);
  EXPECT_EQ(json["recipe"][0]["options"][0]["name"], "max");
}

TEST(Describe, UnknownNamesAreSuggested) {
  EXPECT_EQ(describe_text({"rul", ""}).status().message(),
            "[describe] unknown kind or name rul (did you mean rule?)");
  EXPECT_EQ(describe_json({"rule", "nestrov"}).status().message(),
            "[describe] unknown rule nestrov (did you mean nesterov?)");
  EXPECT_EQ(describe_text({"recipe", "trian"}).status().message(),
            "[describe] unknown recipe section trian (did you mean train?)");
}

}  // namespace
}  // namespace rubato

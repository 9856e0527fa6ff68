// libFuzzer over recipes: the input's parts between NULs are the file and then `--set` strings.
// Whatever parses is written with every key resolved and reads as the same recipe, whole or
// narrowed to what is in force; errors are one line that says where.
#include <span>
#include <string>
#include <vector>

#include "tests/fuzz/fuzzing.h"

#include "rubato/app/recipe.h"

namespace rubato {
namespace {

std::shared_ptr<const RecipeSchema> schema() {
  static const std::shared_ptr<const RecipeSchema> kSchema = RecipeSchema::make(catalogue());
  return kSchema;
}

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> parts;
  for (size_t end; (end = text.find('\0')) != text.npos; text.remove_prefix(end + 1)) {
    parts.emplace_back(text.substr(0, end));
  }
  parts.emplace_back(text);
  return parts;
}

void check_round_trip(const Recipe& recipe, bool narrowed) {
  const std::string text = recipe.to_toml();
  auto again = Recipe::parse(schema(), text, "written.toml");
  RUBATO_CHECK(again.ok(), "a recipe that was written does not parse: ", again.status().message());
  if (narrowed) again = again->narrowed();
  RUBATO_CHECK(difference(recipe, *again).empty(), join(difference(recipe, *again), "; "));
  RUBATO_CHECK(recipe == *again && recipe.digest() == again->digest(), "values changed");
  RUBATO_CHECK(again->to_toml() == text, "another text the second time");
}

}  // namespace
}  // namespace rubato

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace rubato;
  const std::vector<std::string> parts = split(as_text(data, size));
  const std::span<const std::string> sets = std::span(parts).subspan(1);
  const auto recipe = Recipe::parse(schema(), parts[0], "fuzz.toml", sets);
  if (!recipe.ok()) {
    const bool in_file = !Recipe::parse(schema(), parts[0], "fuzz.toml").ok();
    check_error(recipe.status(), in_file ? "[recipe] fuzz.toml:" : "[recipe] --set: ");
    return 0;
  }
  check_round_trip(*recipe, false);
  check_round_trip(recipe->narrowed(), true);
  return 0;
}

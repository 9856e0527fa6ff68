// What a recipe may say: its sections and their keys, with kind, range, unit and meaning. The fixed
// sections are tables in recipe_schema.cc; the sections of rules, gates and optimizers come from
// the catalogue.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rubato/app/catalogue.h"

namespace rubato {

/// The key that says what is trained, and its value for a model of text.
inline constexpr std::string_view kModelKind = "model.kind";
inline constexpr std::string_view kLanguageModel = "language-model";
inline constexpr std::string_view kOpaqueModel = "opaque";

/// Of run.seed, and of every --seed.
inline constexpr int64_t kLargestSeed = 1'000'000'000'000;

struct RecipeSection {
  std::string name;  // train, outer.nesterov
  std::string meaning;
  std::vector<OptionSpec> options;
  std::string selector;  // in force while this key names `entry`; "" is always in force
  std::string entry;
  std::vector<std::string> language_model_only = {};  // options that other model.kinds do not read
  bool of_many_runs = false;  // says which runs to make, nothing about any one of them
};

class RecipeSchema {
 public:
  /// The fixed sections and those of `kinds`.
  static std::shared_ptr<const RecipeSchema> make(std::span<const CatalogueKind> kinds);

  const std::vector<RecipeSection>& sections() const { return sections_; }
  /// The spec of a dotted key, or nullptr.
  const OptionSpec* find(std::string_view key) const;
  /// `unknown key train.lcoal_steps (did you mean train.local_steps?)`.
  std::string unknown_key(std::string_view key) const;
  /// The names that [methods.NAME] and run.method may use.
  const std::vector<std::string>& methods() const { return methods_; }

 private:
  std::vector<RecipeSection> sections_;
  std::map<std::string, OptionSpec, std::less<>> specs_;  // by dotted key; spec.name is the key
  std::vector<std::string> methods_;
};

/// The section of a dotted key: `outer.nesterov` for outer.nesterov.lr.
std::string_view section_of(std::string_view key);

}  // namespace rubato

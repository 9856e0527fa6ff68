// A recipe: everything that decides a run's numbers, as dotted keys with checked values. It is read
// from TOML and from `--set`, written back with every key resolved, and compared key by key. It
// knows no meaning of any key beyond its schema; build.h turns it into objects.
//
//   defaults of the schema < the file < the method (methods.h) < [methods.NAME] < --set
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rubato/app/recipe_schema.h"

namespace rubato {

class Recipe {
 public:
  using Values = std::map<std::string, OptionValue, std::less<>>;

  /// `text` of a file called `source`, then `sets` (each `key=value`). InvalidArgument `[recipe]
  /// SOURCE:LINE: ..` on malformed TOML, an unknown key (with the nearest known names), a wrong
  /// type or range, a key set twice; `[recipe] --set: ..` likewise.
  static StatusOr<Recipe> parse(std::shared_ptr<const RecipeSchema> schema, std::string_view text,
                                std::string_view source, std::span<const std::string> sets = {});
  /// The same from a file. NotFound when it cannot be read.
  static StatusOr<Recipe> load(std::shared_ptr<const RecipeSchema> schema, const std::string& path,
                               std::span<const std::string> sets = {});

  /// A key's value, given or default. Aborts when the key is not in the schema or of another kind.
  double real(std::string_view key) const;
  int64_t integer(std::string_view key) const;
  bool flag(std::string_view key) const;
  const std::string& text(std::string_view key) const;
  const std::vector<double>& reals(std::string_view key) const;
  const std::vector<std::string>& texts(std::string_view key) const;
  /// False for an optional key that nobody gave.
  bool has(std::string_view key) const;

  /// Every value of a section by the names in it: the options of a rule or gate.
  std::map<std::string, OptionValue> section(std::string_view name) const;
  /// Where a key was given: `demo.toml:12`, `--set`, or `default`.
  std::string where(std::string_view key) const;
  /// Whether the key says which runs to make, and nothing about any one of them.
  bool of_many_runs(std::string_view key) const;
  /// InvalidArgument `[recipe] demo.toml:12: KEY: MESSAGE`, for checks across keys.
  Status error(std::string_view key, std::string_view message) const;

  /// The same recipe with one more key given, by the run itself or `--set`.
  StatusOr<Recipe> with(std::string_view key, const OptionValue& value,
                        std::string_view where) const;
  /// The same recipe as if nobody had given a key of the section.
  Recipe without_section(std::string_view name) const;
  /// The overrides of [methods.NAME].
  const Values& overlay(std::string_view method) const;
  StatusOr<Recipe> with_overlay(std::string_view method, std::string_view key,
                                const OptionValue& value) const;
  /// The recipe of one run: overlays, keys that are not in force and those of many runs are
  /// dropped, so that its digest says what was run and not what else was.
  Recipe narrowed() const;

  /// Every key in force or given, with its value; overlays as `methods.NAME.KEY`.
  Values resolved() const;
  /// The resolved recipe as TOML, every key with its unit and meaning; reading it gives the same.
  std::string to_toml() const;
  /// Digest of the resolved values.
  std::string digest() const;
  const RecipeSchema& schema() const { return *schema_; }

  friend bool operator==(const Recipe& a, const Recipe& b) { return a.resolved() == b.resolved(); }

 private:
  explicit Recipe(std::shared_ptr<const RecipeSchema> schema) : schema_(std::move(schema)) {}
  Status give(const std::string& key, const OptionValue& value, const std::string& where);
  Status give_set(const std::string& assignment);
  Status give_overlay(const std::string& method, const std::string& key, const OptionValue& value,
                      const std::string& where);
  StatusOr<OptionValue> checked(std::string_view key, const OptionValue& value,
                                std::string_view where) const;
  const OptionValue& get(std::string_view key) const;
  bool in_force(const RecipeSection& section) const;
  bool in_force(const RecipeSection& section, const OptionSpec& spec) const;

  std::shared_ptr<const RecipeSchema> schema_;
  Values given_;
  std::map<std::string, std::string, std::less<>> where_;  // of given keys
  std::map<std::string, Values, std::less<>> overlays_;    // by method
  bool narrowed_ = false;
};

/// The keys that differ, each as `train.local_steps 50 -> 20`; `absent` for a missing one.
std::vector<std::string> difference(const Recipe& a, const Recipe& b);

}  // namespace rubato

// The methods that `compare` and `tune` know by name: each is data, a list of overrides on a
// recipe. A method says what makes it that method (gate, step policy, links, rule) and leaves every
// size, rate and outer step to the recipe.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rubato/app/recipe.h"

namespace rubato {

/// The method of a recipe that names none: its own keys as they are.
inline constexpr std::string_view kCustomMethod = "custom";
/// What the others are measured against in time.
inline constexpr std::string_view kReferenceMethod = "sync-diloco";

struct Method : Description {
  std::vector<std::pair<std::string, OptionValue>> overrides;
  std::string tuned_key;  // the step that `tune` searches; "" when there is none
  /// Further keys that keep their proportion to tuned_key. With such keys the values of a grid are
  /// factors of what the recipe says; without, they are what the key becomes.
  std::vector<std::string> tuned_along;

  bool tuned_by_factor() const { return !tuned_along.empty(); }
  /// What a value of the grid makes of `base`, by key.
  std::vector<std::pair<std::string, double>> tuned_values(const Recipe& base, double value) const;
};

std::span<const Method* const> all_methods();
/// NotFound `[method] unknown method .. (did you mean ..?)`.
StatusOr<const Method*> find_method(std::string_view name);

/// The recipe that runs `method`: its overrides on `base`, then [methods.NAME], then --set again;
/// narrowed to what is in force. Rates of the pretraining that `base` leaves to lr.* are written
/// out, so that a method with other rates still starts from the same pretraining. InvalidArgument
/// when --set, or a recipe whose run.method is this one, gives a key that the method decides
/// another value.
StatusOr<Recipe> recipe_for_method(const Recipe& base, std::string_view method);

/// InvalidArgument `[WHO] KEY: got dn twice, want each once` when a list names something twice.
template <class T>
Status check_distinct(std::string_view who, std::string_view key, const std::vector<T>& list) {
  for (size_t i = 0; i < list.size(); ++i) {
    if (std::ranges::find(list.begin(), list.begin() + static_cast<ptrdiff_t>(i), list[i]) ==
        list.begin() + static_cast<ptrdiff_t>(i)) {
      continue;
    }
    return absl::InvalidArgumentError(
        cat("[", who, "] ", key, ": got ", list[i], " twice, want each once"));
  }
  return absl::OkStatus();
}

/// InvalidArgument `[recipe] --set: outer.sgd.lr: got a key without effect ..` when a --set key of
/// `base` is in force in none of the `recipes` made from it, nor among the keys of [compare] and
/// [tune] that the command reads: a silent wrong experiment otherwise.
Status check_sets_have_effect(const Recipe& base, std::span<const Recipe> recipes,
                              std::initializer_list<std::string_view> read_by_command = {});
/// InvalidArgument when --set gives a key that `flag` decides.
Status check_not_set(const Recipe& base, std::string_view key, std::string_view flag);

}  // namespace rubato

// What a recipe can name: an entry carries its words, its options and how to make it. A registry is
// a plain list of entries in one list file; the recipe parser, `rubato describe`, the docs table,
// checkpoints and the conformance tests all walk that list. No statics register themselves: linkers
// drop those.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rubato/base/options.h"

namespace rubato {

/// The words and options of a registered thing, whatever its interface.
struct Description {
  std::string name;
  std::string summary;  // one line
  std::string formula;  // ASCII math; "" when there is none
  std::string source;   // where it comes from: paper and equation
  std::vector<OptionSpec> options;
};

/// A Description with the function that makes the thing from resolved options.
template <class Factory>
struct Entry : Description {
  Factory* make = nullptr;
};

/// The entry of that name; NotFound `[who] unknown kind name (did you mean ..?)` otherwise.
template <class E>
StatusOr<const E*> find_entry(std::string_view who, std::string_view kind,
                              std::span<const E* const> entries, std::string_view name) {
  std::vector<std::string> known;
  for (const E* entry : entries) {
    if (entry->name == name) return entry;
    known.push_back(entry->name);
  }
  return absl::NotFoundError(cat("[", who, "] unknown ", kind, " ", name, suggestion(name, known)));
}

}  // namespace rubato

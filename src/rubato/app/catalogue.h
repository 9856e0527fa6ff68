// Everything a recipe can name, by kind: one list over all registries. The recipe's schema and
// `rubato describe` are made from it, so a rule that stands in its registry is parsed, checked and
// described without another line.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "rubato/base/registry.h"
#include "rubato/outer/outer_rule.h"

namespace rubato {

/// One registry.
struct CatalogueKind {
  std::string name;          // what `describe` calls it: link, rule, inner, ..
  std::string meaning;       // one line
  std::string selector;      // the recipe key that chooses among the entries: outer.rule
  std::string default_name;  // what the selector is when a recipe is silent
  bool many = false;         // the selector is a list
  std::vector<Description> entries;

  /// The sections of the entries' options: `outer` for outer.rule.
  std::string section() const { return selector.substr(0, selector.find('.')); }
};

/// Every kind there is, in the order they are described; rules and links are those of `outer`.
std::vector<CatalogueKind> catalogue(std::span<const OuterEntry* const> outer = outer_entries());

}  // namespace rubato

// The words of `rubato describe`: every kind, entry and recipe section as text for people or as
// JSON. It only arranges what the registries and the schema say, so nothing can be missing here.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "rubato/app/catalogue.h"
#include "rubato/app/recipe_schema.h"

namespace rubato {

/// What is asked for; empty parts mean everything. A `kind` that is the name of an entry finds that
/// entry in whatever kind it is.
struct DescribeQuery {
  std::string kind;
  std::string name;
};

/// NotFound `[describe] unknown kind ..` or `unknown rule ..`, with the nearest names.
StatusOr<std::string> describe_text(const DescribeQuery& query,
                                    const std::vector<CatalogueKind>& kinds = catalogue());
/// {"kinds": [{kind, meaning, selector, entries: [{name, summary, formula, source, notes, options:
/// [..]}]}], "recipe": [{section, meaning, options: [..]}]}, cut down to what is asked for.
StatusOr<nlohmann::ordered_json> describe_json(
    const DescribeQuery& query, const std::vector<CatalogueKind>& kinds = catalogue());

}  // namespace rubato

#include "rubato/app/describe.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "rubato/app/methods.h"
#include "rubato/codec/codec.h"
#include "rubato/outer/outer_rule.h"

namespace rubato {
namespace {

using Json = nlohmann::ordered_json;

// The recipe's own sections are described like a kind of their own.
constexpr std::string_view kRecipeKind = "recipe";

struct Part {
  std::vector<CatalogueKind> kinds;
  std::vector<RecipeSection> sections;
  bool in_full = false;  // one entry: everything about it; otherwise a list of names
};

CatalogueKind only(CatalogueKind kind, std::string_view name) {
  std::erase_if(kind.entries, [&](const Description& entry) { return entry.name != name; });
  return kind;
}

std::vector<std::string> entry_names(const CatalogueKind& kind) {
  std::vector<std::string> names;
  for (const Description& entry : kind.entries) names.push_back(entry.name);
  return names;
}

StatusOr<Part> select_section(const std::vector<RecipeSection>& sections, const std::string& name) {
  if (name.empty()) return Part{{}, sections, true};
  std::vector<std::string> names;
  Part part{{}, {}, true};
  for (const RecipeSection& section : sections) {
    names.push_back(section.name);
    if (section.name == name) part.sections.push_back(section);
  }
  if (!part.sections.empty()) return part;
  return absl::NotFoundError(
      cat("[describe] unknown recipe section ", name, suggestion(name, names)));
}

StatusOr<Part> select(const DescribeQuery& query, const std::vector<CatalogueKind>& kinds) {
  const std::vector<RecipeSection> sections = RecipeSchema::make(kinds)->sections();
  if (query.kind.empty()) return Part{kinds, sections, false};
  if (query.kind == kRecipeKind) return select_section(sections, query.name);
  std::vector<std::string> known = {std::string(kRecipeKind)};
  for (const CatalogueKind& kind : kinds) {
    known.push_back(kind.name);
    if (kind.name != query.kind) continue;
    if (query.name.empty()) return Part{{kind}, {}, false};
    Part part{{only(kind, query.name)}, {}, true};
    if (!part.kinds[0].entries.empty()) return part;
    return absl::NotFoundError(cat("[describe] unknown ", kind.name, " ", query.name,
                                   suggestion(query.name, entry_names(kind))));
  }
  Part found{{}, {}, true};
  if (query.name.empty()) {
    for (const CatalogueKind& kind : kinds) {
      CatalogueKind match = only(kind, query.kind);
      if (!match.entries.empty()) found.kinds.push_back(std::move(match));
    }
  }
  if (!found.kinds.empty()) return found;
  return absl::NotFoundError(
      cat("[describe] unknown kind or name ", query.kind, suggestion(query.kind, known)));
}

// What a link or rule costs the server, asked of the thing itself with its defaults.
std::vector<std::string> outer_notes(const std::string& name) {
  constexpr OuterContext kContext{.num_workers = 4, .num_params = 16};
  std::vector<std::string> notes;
  for (const OuterEntry* entry : outer_entries()) {
    if (entry->name != name) continue;
    const auto options = Options::resolve(name, entry->options, {});
    if (!options.ok()) continue;
    const auto stage = entry->make(*options, kContext);
    if (!stage.ok()) continue;
    PlaneFloatCounter counter;
    (*stage)->walk_state(counter);
    notes.push_back(cat("memory: ", counter.floats / kContext.num_params, " floats per parameter"));
    if ((*stage)->needs().task_base) {
      notes.push_back("keeps the parameters that every outstanding task started from");
    }
    if ((*stage)->needs().looks_ahead) {
      notes.push_back("workers start from a point ahead of the parameters");
    }
    if ((*stage)->needs().delta_norm) notes.push_back("reads the whole delta once more");
    if ((*stage)->needs().group) {
      notes.push_back(
          "stands first, behind a gate that averages; reads a group's deltas twice more");
    }
    if ((*stage)->needs().momentum) {
      notes.push_back("stands first, in front of a rule with momentum; reads both once more");
    }
  }
  return notes;
}

// What a codec makes of a value, asked of the thing itself with its defaults.
std::vector<std::string> codec_notes(const std::string& name) {
  const auto codec = make_codec(name);
  if (!codec.ok()) return {};
  const int64_t values = (*codec)->block_values(), bytes = (*codec)->block_bytes();
  std::vector<std::string> notes = {
      cat(8 * static_cast<double>(bytes) / static_cast<double>(values),
          " bits a value, in blocks of ", values)};
  if ((*codec)->lossless()) notes.push_back("loses nothing");
  return notes;
}

std::vector<std::string> notes_of(const CatalogueKind& kind, const Description& entry) {
  std::vector<std::string> notes;
  if (kind.name == "rule" || kind.name == "link") return outer_notes(entry.name);
  if (kind.name == "codec") return codec_notes(entry.name);
  if (kind.name == "method") {
    const StatusOr<const Method*> method = find_method(entry.name);
    if (!method.ok()) return notes;
    for (const auto& [key, value] : (*method)->overrides) {
      notes.push_back(cat("sets ", key, " = ", to_text(value)));
    }
    if ((*method)->tuned_by_factor()) {
      notes.push_back(cat("tuned by ", (*method)->tuned_key,
                          ": a grid's values are factors of the recipe's, of ",
                          join((*method)->tuned_along, ", "), " too"));
    } else if (!(*method)->tuned_key.empty()) {
      notes.push_back(cat("tuned by ", (*method)->tuned_key));
    }
  }
  return notes;
}

std::string option_line(const OptionSpec& spec) {
  const std::string unit = spec.unit.size() > 1 ? cat(" ", spec.unit) : "";
  return cat("  ", spec.name, " = ", spec.optional ? "absent" : to_text(spec.default_value), "  (",
             want_text(spec), unit, ")\n      ", spec.meaning, "\n");
}

std::string entry_text(const CatalogueKind& kind, const Description& entry) {
  std::string out = cat(kind.name, " ", entry.name, ": ", entry.summary, "\n");
  if (!entry.formula.empty()) out += cat("  ", entry.formula, "\n");
  if (!entry.source.empty()) out += cat("  source: ", entry.source, "\n");
  for (const std::string& note : notes_of(kind, entry)) out += cat("  ", note, "\n");
  if (kind.name != "method") out += cat("  chosen by ", kind.selector, "\n");
  if (!entry.options.empty()) out += cat("options in [", kind.section(), ".", entry.name, "]:\n");
  for (const OptionSpec& spec : entry.options) out += option_line(spec);
  return out;
}

std::string list_text(const CatalogueKind& kind) {
  std::string out = cat(kind.name, ": ", kind.meaning, " (", kind.selector, ")\n");
  size_t width = 0;
  for (const Description& entry : kind.entries) width = std::max(width, entry.name.size());
  for (const Description& entry : kind.entries) {
    out +=
        cat("  ", entry.name, std::string(width - entry.name.size() + 2, ' '), entry.summary, "\n");
  }
  return out;
}

std::string section_text(const RecipeSection& section) {
  std::string out = cat("[", section.name, "] ", section.meaning, "\n");
  for (const OptionSpec& spec : section.options) out += option_line(spec);
  return out;
}

Json value_json(const OptionValue& value) {
  return std::visit([](const auto& held) { return Json(held); }, value);
}

Json option_json(const OptionSpec& spec) {
  Json json = {{"name", spec.name}, {"want", want_text(spec)}};
  json["default"] = spec.optional ? Json(nullptr) : value_json(spec.default_value);
  if (spec.kind == OptionKind::kInteger || spec.kind == OptionKind::kReal ||
      spec.kind == OptionKind::kReals) {
    json["min"] = spec.min;
    json["max"] = spec.max;
  }
  if (!spec.choices.empty()) json["choices"] = spec.choices;
  json["unit"] = spec.unit;
  json["meaning"] = spec.meaning;
  return json;
}

Json options_json(const std::vector<OptionSpec>& specs) {
  Json json = Json::array();
  for (const OptionSpec& spec : specs) json.push_back(option_json(spec));
  return json;
}

Json kind_json(const CatalogueKind& kind) {
  Json entries = Json::array();
  for (const Description& entry : kind.entries) {
    entries.push_back({{"name", entry.name},
                       {"summary", entry.summary},
                       {"formula", entry.formula},
                       {"source", entry.source},
                       {"notes", notes_of(kind, entry)},
                       {"options", options_json(entry.options)}});
  }
  return {{"kind", kind.name},
          {"meaning", kind.meaning},
          {"selector", kind.selector},
          {"entries", std::move(entries)}};
}

}  // namespace

StatusOr<std::string> describe_text(const DescribeQuery& query,
                                    const std::vector<CatalogueKind>& kinds) {
  RUBATO_ASSIGN_OR_RETURN(const Part part, select(query, kinds));
  std::vector<std::string> pieces;
  for (const CatalogueKind& kind : part.kinds) {
    if (!part.in_full) pieces.push_back(list_text(kind));
    for (const Description& entry : kind.entries) {
      if (part.in_full) pieces.push_back(entry_text(kind, entry));
    }
  }
  if (part.in_full) {
    for (const RecipeSection& section : part.sections) pieces.push_back(section_text(section));
  } else if (!part.sections.empty()) {
    std::vector<std::string> names;
    for (const RecipeSection& section : part.sections) names.push_back(section.name);
    pieces.push_back(cat(kRecipeKind, ": the sections of a recipe\n  ", join(names, ", "), "\n"));
  }
  return join(pieces, "\n");
}

StatusOr<Json> describe_json(const DescribeQuery& query, const std::vector<CatalogueKind>& kinds) {
  RUBATO_ASSIGN_OR_RETURN(const Part part, select(query, kinds));
  Json json = {{"kinds", Json::array()}, {"recipe", Json::array()}};
  for (const CatalogueKind& kind : part.kinds) json["kinds"].push_back(kind_json(kind));
  for (const RecipeSection& section : part.sections) {
    json["recipe"].push_back({{"section", section.name},
                              {"meaning", section.meaning},
                              {"options", options_json(section.options)}});
  }
  return json;
}

}  // namespace rubato

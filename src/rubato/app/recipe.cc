#include "rubato/app/recipe.h"

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>

#include "rubato/app/toml_adapter.h"
#include "rubato/base/digest.h"
#include "rubato/base/one_line.h"
#include "rubato/text/utf8.h"

namespace rubato {
namespace {

constexpr std::string_view kOverlays = "methods.";

Status fail(std::string_view where, std::string_view message) {
  return absl::InvalidArgumentError(cat("[recipe] ", where, ": ", one_line(message)));
}

// Words that a shell hands over without their quotes.
bool is_bare_word(std::string_view text) {
  return !text.empty() && text.find_first_of("\"'[]{}=#\n") == std::string_view::npos;
}

}  // namespace

StatusOr<Recipe> Recipe::parse(std::shared_ptr<const RecipeSchema> schema, std::string_view text,
                               std::string_view source, std::span<const std::string> sets) {
  Recipe recipe(std::move(schema));
  RUBATO_ASSIGN_OR_RETURN(const std::vector<TomlKey> keys, read_toml(text, source));
  for (const auto& [key, value, line] : keys) {
    RUBATO_RETURN_IF_ERROR(recipe.give(key, value, cat(source, ":", line)));
  }
  for (const std::string& assignment : sets) RUBATO_RETURN_IF_ERROR(recipe.give_set(assignment));
  return recipe;
}

StatusOr<Recipe> Recipe::load(std::shared_ptr<const RecipeSchema> schema, const std::string& path,
                              std::span<const std::string> sets) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  // An empty recipe is all defaults, but streaming nothing sets failbit.
  if (file && file.peek() != std::ifstream::traits_type::eof()) text << file.rdbuf();
  if (!file.is_open() || file.bad() || text.fail()) {
    return absl::NotFoundError(
        cat("[recipe] ", path, ": got nothing to read, want a TOML file; see recipes/"));
  }
  return parse(std::move(schema), text.str(), path, sets);
}

StatusOr<OptionValue> Recipe::checked(std::string_view key, const OptionValue& value,
                                      std::string_view where) const {
  const OptionSpec* spec = schema_->find(key);
  if (spec == nullptr) return fail(where, schema_->unknown_key(key));
  StatusOr<OptionValue> result = check_option("recipe", *spec, value);
  if (result.ok()) return result;
  // check_option says `[recipe] key: got ..`; the place belongs in front of the key.
  std::string_view message(result.status().message().data(), result.status().message().size());
  message.remove_prefix(std::string_view("[recipe] ").size());
  return fail(where, message);
}

Status Recipe::give(const std::string& key, const OptionValue& value, const std::string& where) {
  if (key.starts_with(kOverlays)) {
    const std::string rest = key.substr(kOverlays.size());
    const size_t point = rest.find('.');
    if (point == std::string::npos) {
      return fail(where, cat("unknown key ", shortened(key),
                             "; want [methods.NAME] with keys of the recipe"));
    }
    return give_overlay(rest.substr(0, point), rest.substr(point + 1), value, where);
  }
  RUBATO_ASSIGN_OR_RETURN(given_[key], checked(key, value, where));
  where_[key] = where;
  return absl::OkStatus();
}

Status Recipe::give_overlay(const std::string& method, const std::string& key,
                            const OptionValue& value, const std::string& where) {
  const std::vector<std::string>& methods = schema_->methods();
  if (std::ranges::find(methods, method) == methods.end()) {
    return fail(where, cat("unknown method ", shortened(method), suggestion(method, methods)));
  }
  RUBATO_ASSIGN_OR_RETURN(overlays_[method][key], checked(key, value, where));
  return absl::OkStatus();
}

Status Recipe::give_set(const std::string& assignment) {
  const size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0) {
    return fail("--set", cat("got ", shortened(assignment), ", want key=value"));
  }
  if (const size_t valid = valid_utf8_prefix(assignment); valid < assignment.size()) {
    return fail("--set", cat("got ", shortened(assignment.substr(0, valid)),
                             ".. with bytes that are not UTF-8, want UTF-8; a recipe is UTF-8"));
  }
  const std::string key = assignment.substr(0, equals), text = assignment.substr(equals + 1);
  const OptionSpec* spec = schema_->find(key);
  const bool wants_words =
      spec != nullptr && (spec->kind == OptionKind::kText || spec->kind == OptionKind::kChoice);
  StatusOr<OptionValue> value = read_toml_value(text, "--set");
  const bool is_words = value.ok() && std::holds_alternative<std::string>(*value);
  if (is_bare_word(text) && !is_words && (wants_words || !value.ok())) {
    value = OptionValue(text);
  }
  RUBATO_RETURN_IF_ERROR(value.status());
  return give(key, *value, "--set");
}

StatusOr<Recipe> Recipe::with(std::string_view key, const OptionValue& value,
                              std::string_view where) const {
  Recipe copy = *this;
  RUBATO_RETURN_IF_ERROR(copy.give(std::string(key), value, std::string(where)));
  return copy;
}

Recipe Recipe::without_section(std::string_view name) const {
  Recipe copy = *this;
  const auto in_section = [name](const auto& entry) { return section_of(entry.first) == name; };
  std::erase_if(copy.given_, in_section);
  std::erase_if(copy.where_, in_section);
  return copy;
}

StatusOr<Recipe> Recipe::with_overlay(std::string_view method, std::string_view key,
                                      const OptionValue& value) const {
  Recipe copy = *this;
  RUBATO_RETURN_IF_ERROR(
      copy.give_overlay(std::string(method), std::string(key), value, cat("methods.", method)));
  return copy;
}

const Recipe::Values& Recipe::overlay(std::string_view method) const {
  static const Values* const kNone = new Values;
  const auto it = overlays_.find(method);
  return it == overlays_.end() ? *kNone : it->second;
}

const OptionValue& Recipe::get(std::string_view key) const {
  const auto it = given_.find(key);
  if (it != given_.end()) return it->second;
  const OptionSpec* spec = schema_->find(key);
  RUBATO_CHECK(spec != nullptr, "no recipe key ", key);
  RUBATO_CHECK(!spec->optional, "recipe key ", key, " is absent");
  return spec->default_value;
}

double Recipe::real(std::string_view key) const { return std::get<double>(get(key)); }
int64_t Recipe::integer(std::string_view key) const { return std::get<int64_t>(get(key)); }
bool Recipe::flag(std::string_view key) const { return std::get<bool>(get(key)); }
const std::string& Recipe::text(std::string_view key) const {
  return std::get<std::string>(get(key));
}
const std::vector<double>& Recipe::reals(std::string_view key) const {
  return std::get<std::vector<double>>(get(key));
}
const std::vector<std::string>& Recipe::texts(std::string_view key) const {
  return std::get<std::vector<std::string>>(get(key));
}

bool Recipe::has(std::string_view key) const {
  if (given_.find(key) != given_.end()) return true;
  const OptionSpec* spec = schema_->find(key);
  RUBATO_CHECK(spec != nullptr, "no recipe key ", key);
  return !spec->optional;
}

std::map<std::string, OptionValue> Recipe::section(std::string_view name) const {
  std::map<std::string, OptionValue> values;
  for (const RecipeSection& section : schema_->sections()) {
    if (section.name != name) continue;
    for (const OptionSpec& spec : section.options) {
      const std::string key = cat(name, ".", spec.name);
      if (has(key)) values[spec.name] = get(key);
    }
  }
  return values;
}

std::string Recipe::where(std::string_view key) const {
  const auto it = where_.find(key);
  return it == where_.end() ? "default" : it->second;
}

bool Recipe::of_many_runs(std::string_view key) const {
  return std::ranges::any_of(schema_->sections(), [&](const RecipeSection& section) {
    return section.of_many_runs && section.name == section_of(key);
  });
}

Status Recipe::error(std::string_view key, std::string_view message) const {
  return fail(where(key), cat(key, ": ", message));
}

bool Recipe::in_force(const RecipeSection& section) const {
  if (narrowed_ && section.of_many_runs) return false;
  if (section.selector.empty()) return true;
  const OptionValue& selected = get(section.selector);
  if (const auto* names = std::get_if<std::vector<std::string>>(&selected)) {
    return std::ranges::find(*names, section.entry) != names->end();
  }
  return std::get<std::string>(selected) == section.entry;
}

bool Recipe::in_force(const RecipeSection& section, const OptionSpec& spec) const {
  const std::vector<std::string>& only = section.language_model_only;
  if (std::ranges::find(only, spec.name) == only.end()) return in_force(section);
  return text(kModelKind) == kLanguageModel;
}

Recipe Recipe::narrowed() const {
  Recipe copy = *this;
  copy.overlays_.clear();
  copy.narrowed_ = true;
  for (const RecipeSection& section : schema_->sections()) {
    for (const OptionSpec& spec : section.options) {
      if (in_force(section, spec) && !section.of_many_runs) continue;
      copy.given_.erase(cat(section.name, ".", spec.name));
      copy.where_.erase(cat(section.name, ".", spec.name));
    }
  }
  return copy;
}

Recipe::Values Recipe::resolved() const {
  Values values = given_;
  for (const RecipeSection& section : schema_->sections()) {
    for (const OptionSpec& spec : section.options) {
      if (spec.optional || !in_force(section, spec)) continue;
      values.emplace(cat(section.name, ".", spec.name), spec.default_value);
    }
  }
  for (const auto& [method, overlay] : overlays_) {
    for (const auto& [key, value] : overlay)
      values.emplace(cat(kOverlays, method, ".", key), value);
  }
  return values;
}

std::string Recipe::to_toml() const {
  const Values values = resolved();
  std::string out = "# A recipe of Rubato with every key resolved.\n";
  for (const RecipeSection& section : schema_->sections()) {
    std::string lines;
    for (const OptionSpec& spec : section.options) {
      const auto it = values.find(cat(section.name, ".", spec.name));
      if (it == values.end()) continue;
      const std::string unit = spec.unit.size() > 1 ? cat(spec.unit, ": ") : "";
      lines += cat(spec.name, " = ", to_text(it->second), "  # ", unit, spec.meaning, "\n");
    }
    if (!lines.empty()) out += cat("\n[", section.name, "]  # ", section.meaning, "\n", lines);
  }
  for (const auto& [method, overlay] : overlays_) {
    out += cat("\n[methods.", method, "]  # under this method only\n");
    for (const auto& [key, value] : overlay) out += cat("\"", key, "\" = ", to_text(value), "\n");
  }
  return out;
}

std::string Recipe::digest() const {
  Digester digester;
  for (const auto& [key, value] : resolved()) {
    digester.update(cat(key, " = ", to_text(value), "\n"));
  }
  return digester.hex();
}

std::vector<std::string> difference(const Recipe& a, const Recipe& b) {
  const Recipe::Values left = a.resolved(), right = b.resolved();
  std::set<std::string> keys;
  for (const auto& [key, value] : left) keys.insert(key);
  for (const auto& [key, value] : right) keys.insert(key);
  const auto text = [](const Recipe::Values& values, const std::string& key) {
    const auto it = values.find(key);
    return it == values.end() ? std::string("absent") : to_text(it->second);
  };
  std::vector<std::string> out;
  for (const std::string& key : keys) {
    const std::string from = text(left, key), to = text(right, key);
    if (from != to) out.push_back(cat(key, " ", from, " -> ", to));
  }
  return out;
}

}  // namespace rubato

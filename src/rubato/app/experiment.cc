#include "rubato/app/experiment.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>

#include "rubato/app/catalogue.h"
#include "rubato/app/methods.h"
#include "rubato/app/toml_adapter.h"
#include "rubato/store/file_system.h"

namespace rubato {
namespace {

Status fail(std::string_view where, std::string_view message) {
  return absl::InvalidArgumentError(cat("[experiment] ", where, ": ", message));
}

StatusOr<std::vector<TomlKey>> read_keys(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  if (!file || text.fail()) {
    return absl::NotFoundError(cat("[experiment] ", path,
                                   ": got nothing to read, want a TOML file; see "
                                   "recipes/evidence/"));
  }
  return read_toml(text.str(), path);
}

// What a key's value is stored to; each says what it wants when it gets something else.
struct Slot {
  std::string_view want;
  std::function<bool(const OptionValue&)> store;
};

Slot words(std::string& to) {
  return {"words", [&to](const OptionValue& value) {
            const auto* text = std::get_if<std::string>(&value);
            if (text != nullptr) to = *text;
            return text != nullptr;
          }};
}

Slot list(std::vector<std::string>& to) {
  return {"a list of words", [&to](const OptionValue& value) {
            const auto* texts = std::get_if<std::vector<std::string>>(&value);
            const auto* numbers = std::get_if<std::vector<double>>(&value);
            if (texts != nullptr) to = *texts;
            return texts != nullptr || (numbers != nullptr && numbers->empty());
          }};
}

Slot numbers(std::vector<double>& to) {
  return {"a list of numbers", [&to](const OptionValue& value) {
            const auto* reals = std::get_if<std::vector<double>>(&value);
            if (reals != nullptr) to = *reals;
            return reals != nullptr;
          }};
}

Slot integer(int64_t& to) {
  return {"an integer", [&to](const OptionValue& value) {
            const auto* number = std::get_if<int64_t>(&value);
            if (number != nullptr) to = *number;
            return number != nullptr;
          }};
}

Slot integers(std::vector<int64_t>& to) {
  return {"a list of integers", [&to](const OptionValue& value) {
            const auto* reals = std::get_if<std::vector<double>>(&value);
            if (reals == nullptr) return false;
            for (const double real : *reals) {
              if (real != std::floor(real) || std::fabs(real) > 1e15) return false;
              to.push_back(static_cast<int64_t>(real));
            }
            return true;
          }};
}

Slot flag(bool& to) {
  return {"true or false", [&to](const OptionValue& value) {
            const auto* truth = std::get_if<bool>(&value);
            if (truth != nullptr) to = *truth;
            return truth != nullptr;
          }};
}

using Slots = std::map<std::string, Slot, std::less<>>;

Status store(const Slots& slots, std::string_view name, const OptionValue& value,
             std::string_view where) {
  const auto slot = slots.find(name);
  if (slot == slots.end()) {
    std::vector<std::string> known;
    for (const auto& [key, unused] : slots) known.push_back(key);
    return fail(where, cat("unknown key ", name, suggestion(name, known)));
  }
  if (slot->second.store(value)) return absl::OkStatus();
  return fail(where, cat(name, ": got ", to_text(value), ", want ", slot->second.want));
}

// The element of `named` that is called `name`; made when it is not there yet.
template <class T>
T& element(std::vector<T>& named, std::string_view name) {
  const auto it = std::ranges::find(named, name, &T::name);
  if (it != named.end()) return *it;
  named.emplace_back().name = name;
  return named.back();
}

Status store_key(Experiment& experiment, const TomlKey& key, std::string_view where) {
  std::vector<std::string_view> parts;
  for (std::string_view rest = key.key;;) {
    const size_t point = rest.find('.');
    parts.push_back(rest.substr(0, point));
    if (point == std::string_view::npos) break;
    rest.remove_prefix(point + 1);
  }
  if (parts.size() == 1) {
    const Slots slots = {
        {"title", words(experiment.title)},   {"question", words(experiment.question)},
        {"base", words(experiment.base)},     {"tuning", words(experiment.tuning)},
        {"order", integer(experiment.order)}, {"seeds", integers(experiment.seeds)},
        {"figures", list(experiment.figures)}};
    return store(slots, key.key, key.value, where);
  }
  if (parts.size() == 3 && parts[0] == "cells") {
    ExperimentCell& cell = element(experiment.cells, parts[1]);
    return store({{"label", words(cell.label)}, {"set", list(cell.sets)}}, parts[2], key.value,
                 where);
  }
  if (parts.size() == 3 && parts[0] == "rows") {
    ExperimentRow& row = element(experiment.rows, parts[1]);
    const Slots slots = {{"label", words(row.label)}, {"method", words(row.method)},
                         {"set", list(row.sets)},     {"tuned", flag(row.tuned)},
                         {"cells", list(row.cells)},  {"paper", numbers(row.paper)}};
    return store(slots, parts[2], key.value, where);
  }
  return fail(where, cat("unknown key ", key.key,
                         "; want one of the file, of [cells.NAME] or of "
                         "[rows.NAME]"));
}

std::string file_name(const std::string& path) {
  std::string name = base_name(path);
  if (name.ends_with(".toml")) name.resize(name.size() - 5);
  return name;
}

// Files name each other from where they stand.
std::string beside(const std::string& path, const std::string& other) {
  return other.empty() || other.starts_with('/') ? other : join_path(parent_path(path), other);
}

Status check_row(const Experiment& experiment, ExperimentRow& row) {
  const std::string who = cat(experiment.path, ": row ", row.name);
  if (row.label.empty()) row.label = row.name;
  RUBATO_ASSIGN_OR_RETURN(const Method* method, find_method(row.method));
  if (row.tuned && method->tuned_key.empty()) {
    return fail(who, cat("got tuned = true, want a method with a step to tune, not ", row.method));
  }
  if (row.tuned && experiment.tuning.empty()) {
    return fail(who, "got tuned = true without a tuning, want tuning = \"FILE\" at the top");
  }
  for (const std::string& cell : row.cells) {
    if (std::ranges::find(experiment.cells, cell, &ExperimentCell::name) != experiment.cells.end())
      continue;
    return fail(who, cat("got cell ", cell, ", want one of [cells]"));
  }
  if (row.paper.empty() || row.paper.size() == experiment.cells.size()) return absl::OkStatus();
  return fail(who, cat("paper: got ", row.paper.size(), " figures, want one a cell: ",
                       experiment.cells.size(), "; nan where there is none"));
}

Status check(Experiment& experiment) {
  if (experiment.title.empty() || experiment.base.empty() || experiment.seeds.empty() ||
      experiment.cells.empty() || experiment.rows.empty()) {
    return fail(experiment.path,
                "got no whole experiment, want title, base, seeds, [cells.NAME] "
                "and [rows.NAME]");
  }
  RUBATO_RETURN_IF_ERROR(check_distinct("experiment", "seeds", experiment.seeds));
  for (const std::string& figure : experiment.figures) {
    if (figure == "tokens" || figure == "clock") continue;
    return fail(experiment.path, cat("figures: got ", figure, ", want tokens or clock"));
  }
  for (ExperimentCell& cell : experiment.cells) {
    if (cell.label.empty()) cell.label = cell.name;
  }
  for (ExperimentRow& row : experiment.rows) {
    RUBATO_RETURN_IF_ERROR(check_row(experiment, row));
  }
  return absl::OkStatus();
}

}  // namespace

bool ExperimentRow::runs_in(const ExperimentCell& cell) const {
  return cells.empty() || std::ranges::find(cells, cell.name) != cells.end();
}

StatusOr<Experiment> load_experiment(const std::string& path) {
  RUBATO_ASSIGN_OR_RETURN(const std::vector<TomlKey> keys, read_keys(path));
  Experiment experiment;
  experiment.path = path;
  experiment.name = file_name(path);
  for (const TomlKey& key : keys) {
    RUBATO_RETURN_IF_ERROR(store_key(experiment, key, cat(path, ":", key.line)));
  }
  experiment.base = beside(path, experiment.base);
  experiment.tuning = beside(path, experiment.tuning);
  RUBATO_RETURN_IF_ERROR(check(experiment));
  return experiment;
}

StatusOr<TuningFile> load_tuning_file(const std::string& path) {
  RUBATO_ASSIGN_OR_RETURN(const std::vector<TomlKey> keys, read_keys(path));
  TuningFile tuning;
  tuning.path = path;
  tuning.name = file_name(path);
  for (const TomlKey& key : keys) {
    const std::string where = cat(path, ":", key.line);
    if (key.key.starts_with("grids.")) {
      tuning.methods.push_back(key.key.substr(6));
      const Slots slots = {{"grid", numbers(tuning.grids.emplace_back())}};
      RUBATO_RETURN_IF_ERROR(store(slots, "grid", key.value, where));
      RUBATO_RETURN_IF_ERROR(annotate(find_method(tuning.methods.back()).status(), where));
      continue;
    }
    const Slots slots = {
        {"base", words(tuning.base)}, {"seed", integer(tuning.seed)}, {"set", list(tuning.sets)}};
    RUBATO_RETURN_IF_ERROR(store(slots, key.key, key.value, where));
  }
  tuning.base = beside(path, tuning.base);
  for (size_t i = 0; i < tuning.grids.size(); ++i) {
    if (!tuning.grids[i].empty() && tuning.grids[i].size() == tuning.grids[0].size()) continue;
    return fail(path, cat(tuning.methods[i], ": got a grid of ", tuning.grids[i].size(),
                          " values, want ", tuning.grids[0].size(),
                          " as for the first: methods are compared by what equal effort finds"));
  }
  if (!tuning.base.empty() && !tuning.methods.empty()) return tuning;
  return fail(path, "got no whole tuning, want base, seed and [grids] with a list a method");
}

StatusOr<Recipe> recipe_under(const std::string& base, const std::vector<std::string>& sets) {
  return Recipe::load(RecipeSchema::make(catalogue()), base, sets);
}

}  // namespace rubato

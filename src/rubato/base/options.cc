#include "rubato/base/options.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>

namespace rubato {
namespace {

std::string want_text(const OptionSpec& spec) {
  switch (spec.kind) {
    case OptionKind::kInteger:
      return cat("an integer in [", static_cast<int64_t>(spec.min), ", ",
                 static_cast<int64_t>(spec.max), "]");
    case OptionKind::kReal:
      return cat("a number in [", spec.min, ", ", spec.max, "]");
    case OptionKind::kFlag:
      return "true or false";
    case OptionKind::kChoice:
      return cat("one of ", join(spec.choices, ", "));
    case OptionKind::kText:
      return "text in quotes";
  }
  return "";
}

Status wrong(std::string_view who, const OptionSpec& spec, const OptionValue& given) {
  return absl::InvalidArgumentError(cat("[", who, "] ", spec.name, ": got ", to_text(given),
                                        ", want ", want_text(spec), spec.unit.size() > 1 ? " " : "",
                                        spec.unit.size() > 1 ? spec.unit : ""));
}

int edit_distance(std::string_view a, std::string_view b) {
  std::vector<int> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 1; i <= a.size(); ++i) {
    int diagonal = row[0];
    row[0] = static_cast<int>(i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const int above = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

}  // namespace

OptionSpec real_option(std::string name, double default_value, double min, double max,
                       std::string unit, std::string meaning) {
  return {std::move(name), OptionKind::kReal, default_value, min, max, {},
          std::move(unit), std::move(meaning)};
}

OptionSpec integer_option(std::string name, int64_t default_value, int64_t min, int64_t max,
                          std::string unit, std::string meaning) {
  return {std::move(name),          OptionKind::kInteger,     default_value,
          static_cast<double>(min), static_cast<double>(max), {},
          std::move(unit),          std::move(meaning)};
}

OptionSpec flag_option(std::string name, bool default_value, std::string meaning) {
  return {std::move(name), OptionKind::kFlag, default_value, 0, 0, {}, "", std::move(meaning)};
}

OptionSpec choice_option(std::string name, std::string default_value,
                         std::vector<std::string> choices, std::string meaning) {
  return {std::move(name),
          OptionKind::kChoice,
          std::move(default_value),
          0,
          0,
          std::move(choices),
          "",
          std::move(meaning)};
}

OptionSpec text_option(std::string name, std::string default_value, std::string meaning) {
  return {std::move(name),   OptionKind::kText, std::move(default_value), 0, 0, {}, "",
          std::move(meaning)};
}

std::string to_text(const OptionValue& value) {
  if (const bool* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  if (const int64_t* integer = std::get_if<int64_t>(&value)) return cat(*integer);
  if (const double* real = std::get_if<double>(&value)) {
    char buffer[32];
    const auto end = std::to_chars(buffer, buffer + sizeof buffer, *real).ptr;
    std::string text(buffer, end);
    // TOML tells reals from integers by the point.
    if (text.find_first_of(".en") == std::string::npos) text += ".0";
    return text;
  }
  std::string quoted = "\"";
  for (char c : std::get<std::string>(value)) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "\"";
}

StatusOr<OptionValue> check_option(std::string_view who, const OptionSpec& spec,
                                   const OptionValue& given) {
  switch (spec.kind) {
    case OptionKind::kInteger: {
      const int64_t* value = std::get_if<int64_t>(&given);
      if (value == nullptr || static_cast<double>(*value) < spec.min ||
          static_cast<double>(*value) > spec.max) {
        return wrong(who, spec, given);
      }
      return given;
    }
    case OptionKind::kReal: {
      double value = 0;
      if (const int64_t* integer = std::get_if<int64_t>(&given)) {
        value = static_cast<double>(*integer);
      } else if (const double* real = std::get_if<double>(&given)) {
        value = *real;
      } else {
        return wrong(who, spec, given);
      }
      if (!(value >= spec.min && value <= spec.max)) return wrong(who, spec, given);
      return OptionValue(value);
    }
    case OptionKind::kFlag:
      if (!std::holds_alternative<bool>(given)) return wrong(who, spec, given);
      return given;
    case OptionKind::kChoice: {
      const std::string* value = std::get_if<std::string>(&given);
      if (value == nullptr || std::ranges::find(spec.choices, *value) == spec.choices.end()) {
        return wrong(who, spec, given);
      }
      return given;
    }
    case OptionKind::kText:
      if (!std::holds_alternative<std::string>(given)) return wrong(who, spec, given);
      return given;
  }
  return wrong(who, spec, given);
}

StatusOr<Options> Options::resolve(std::string_view who, std::span<const OptionSpec> specs,
                                   const std::map<std::string, OptionValue>& given) {
  Options options;
  std::vector<std::string> known;
  for (const OptionSpec& spec : specs) {
    options.values_[spec.name] = spec.default_value;
    known.push_back(spec.name);
  }
  for (const auto& [name, value] : given) {
    const auto spec = std::ranges::find(specs, name, &OptionSpec::name);
    if (spec == specs.end()) {
      return absl::InvalidArgumentError(
          cat("[", who, "] unknown option ", name, suggestion(name, known)));
    }
    RUBATO_ASSIGN_OR_RETURN(options.values_[name], check_option(who, *spec, value));
  }
  return options;
}

const OptionValue& Options::get(std::string_view name) const {
  const auto it = values_.find(name);
  RUBATO_CHECK(it != values_.end(), "option ", name, " was never declared");
  return it->second;
}

double Options::real(std::string_view name) const { return std::get<double>(get(name)); }
int64_t Options::integer(std::string_view name) const { return std::get<int64_t>(get(name)); }
bool Options::flag(std::string_view name) const { return std::get<bool>(get(name)); }
const std::string& Options::text(std::string_view name) const {
  return std::get<std::string>(get(name));
}

std::vector<std::string> nearest_names(std::string_view name, std::span<const std::string> known) {
  std::vector<std::pair<int, std::string>> ranked;
  for (const std::string& candidate : known) {
    const int distance = edit_distance(name, candidate);
    const bool contained =
        candidate.find(name) != std::string::npos || name.find(candidate) != std::string::npos;
    // Half of the letters wrong is no longer a slip of the finger.
    if (contained || distance * 2 <= static_cast<int>(std::max<size_t>(name.size(), 2))) {
      ranked.emplace_back(distance, candidate);
    }
  }
  std::ranges::sort(ranked);
  std::vector<std::string> names;
  for (size_t i = 0; i < ranked.size() && i < 3; ++i) names.push_back(ranked[i].second);
  return names;
}

std::string suggestion(std::string_view name, std::span<const std::string> known) {
  const std::vector<std::string> nearest = nearest_names(name, known);
  if (!nearest.empty()) return cat(" (did you mean ", join(nearest, ", "), "?)");
  if (known.empty()) return "";
  return cat(" (known: ", join(known, ", "), ")");
}

}  // namespace rubato

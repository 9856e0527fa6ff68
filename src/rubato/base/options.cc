#include "rubato/base/options.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>

namespace rubato {
namespace {

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

std::string quoted(const std::string& words) {
  std::string out = "\"";
  for (const char c : words) {
    const auto code = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (code < 0x20 || code == 0x7f) {
      constexpr const char* kHex = "0123456789abcdef";
      out += "\\u00";
      out += kHex[code >> 4];
      out += kHex[code & 15];
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string real_text(double value) {
  char buffer[32];
  std::string text(buffer, std::to_chars(buffer, buffer + sizeof buffer, value).ptr);
  // TOML tells reals from integers by the point.
  if (text.find_first_of(".en") == std::string::npos) text += ".0";
  return text;
}

bool within(const OptionSpec& spec, double value) {
  return value >= spec.min && value <= spec.max;  // false for NaN
}

/// The list that `given` is, an empty one whatever its elements; nullptr when it is no list of T.
template <class T>
const std::vector<T>* as_list(const OptionValue& given, const std::vector<T>& empty) {
  if (const auto* list = std::get_if<std::vector<T>>(&given)) return list;
  const auto* reals = std::get_if<std::vector<double>>(&given);
  const auto* texts = std::get_if<std::vector<std::string>>(&given);
  return (reals != nullptr && reals->empty()) || (texts != nullptr && texts->empty()) ? &empty
                                                                                      : nullptr;
}

}  // namespace

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
    case OptionKind::kReals:
      return cat("a list of numbers in [", spec.min, ", ", spec.max, "]");
    case OptionKind::kTexts:
      if (spec.choices.empty()) return "a list of texts in quotes";
      return cat("a list of any of ", join(spec.choices, ", "));
  }
  return "";
}

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

OptionSpec reals_option(std::string name, std::vector<double> default_value, double min, double max,
                        std::string unit, std::string meaning) {
  return {std::move(name), OptionKind::kReals, std::move(default_value), min, max, {},
          std::move(unit), std::move(meaning)};
}

OptionSpec texts_option(std::string name, std::vector<std::string> default_value,
                        std::vector<std::string> choices, std::string meaning) {
  return {
      std::move(name),   OptionKind::kTexts, std::move(default_value), 0, 0, std::move(choices), "",
      std::move(meaning)};
}

OptionSpec optional(OptionSpec spec) {
  spec.optional = true;
  return spec;
}

std::string to_text(const OptionValue& value) {
  if (const bool* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  if (const int64_t* integer = std::get_if<int64_t>(&value)) return cat(*integer);
  if (const double* real = std::get_if<double>(&value)) return real_text(*real);
  if (const std::string* words = std::get_if<std::string>(&value)) return quoted(*words);
  std::vector<std::string> items;
  if (const auto* reals = std::get_if<std::vector<double>>(&value)) {
    for (const double item : *reals) items.push_back(real_text(item));
  } else {
    for (const std::string& item : std::get<std::vector<std::string>>(value)) {
      items.push_back(quoted(item));
    }
  }
  return cat("[", join(items, ", "), "]");
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
      if (!within(spec, value)) return wrong(who, spec, given);
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
    case OptionKind::kReals: {
      const std::vector<double> empty;
      const std::vector<double>* list = as_list(given, empty);
      if (list == nullptr ||
          !std::ranges::all_of(*list, [&](double v) { return within(spec, v); })) {
        return wrong(who, spec, given);
      }
      return OptionValue(*list);
    }
    case OptionKind::kTexts: {
      const std::vector<std::string> empty;
      const std::vector<std::string>* list = as_list(given, empty);
      const auto known = [&](const std::string& word) {
        return spec.choices.empty() || std::ranges::find(spec.choices, word) != spec.choices.end();
      };
      if (list == nullptr || !std::ranges::all_of(*list, known)) return wrong(who, spec, given);
      return OptionValue(*list);
    }
  }
  return wrong(who, spec, given);
}

StatusOr<Options> Options::resolve(std::string_view who, std::span<const OptionSpec> specs,
                                   const std::map<std::string, OptionValue>& given) {
  Options options;
  std::vector<std::string> known;
  for (const OptionSpec& spec : specs) {
    if (!spec.optional) options.values_[spec.name] = spec.default_value;
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
  RUBATO_CHECK(it != values_.end(), "option ", name, " has no value");
  return it->second;
}

double Options::real(std::string_view name) const { return std::get<double>(get(name)); }
int64_t Options::integer(std::string_view name) const { return std::get<int64_t>(get(name)); }
bool Options::flag(std::string_view name) const { return std::get<bool>(get(name)); }
const std::string& Options::text(std::string_view name) const {
  return std::get<std::string>(get(name));
}
const std::vector<double>& Options::reals(std::string_view name) const {
  return std::get<std::vector<double>>(get(name));
}
const std::vector<std::string>& Options::texts(std::string_view name) const {
  return std::get<std::vector<std::string>>(get(name));
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
  for (size_t i = 0; i < ranked.size() && i < 3; ++i) {
    // Beside a near name, one that is more than twice as far is noise.
    if (ranked[i].first > 2 * ranked[0].first) break;
    names.push_back(ranked[i].second);
  }
  return names;
}

std::string suggestion(std::string_view name, std::span<const std::string> known) {
  const std::vector<std::string> nearest = nearest_names(name, known);
  if (!nearest.empty()) return cat(" (did you mean ", join(nearest, ", "), "?)");
  if (known.empty()) return "";
  return cat(" (known: ", join(known, ", "), ")");
}

}  // namespace rubato

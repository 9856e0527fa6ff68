// Options of anything a recipe can name: declared once in a table, then parsed, range-checked,
// described and written back from that table. A value outside its range or a name nobody declared
// is an error, never a default.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "rubato/base/status.h"

namespace rubato {

enum class OptionKind { kInteger, kReal, kFlag, kChoice, kText, kReals, kTexts };

/// A value as a recipe spells it. Integers are accepted where reals are wanted, not the other way
/// round; an empty list is a list of anything.
using OptionValue =
    std::variant<bool, int64_t, double, std::string, std::vector<double>, std::vector<std::string>>;

struct OptionSpec {
  std::string name;
  OptionKind kind = OptionKind::kReal;
  OptionValue default_value;
  double min = 0, max = 0;           // inclusive; for kInteger, kReal and each of kReals
  std::vector<std::string> choices;  // for kChoice, and for each of kTexts unless empty
  std::string unit;                  // "1" for a pure number, "" for words
  std::string meaning;
  bool optional = false;  // has no default: absent unless it is given
};

OptionSpec real_option(std::string name, double default_value, double min, double max,
                       std::string unit, std::string meaning);
OptionSpec integer_option(std::string name, int64_t default_value, int64_t min, int64_t max,
                          std::string unit, std::string meaning);
OptionSpec flag_option(std::string name, bool default_value, std::string meaning);
OptionSpec choice_option(std::string name, std::string default_value,
                         std::vector<std::string> choices, std::string meaning);
OptionSpec text_option(std::string name, std::string default_value, std::string meaning);

/// A list of numbers, each in [min, max].
OptionSpec reals_option(std::string name, std::vector<double> default_value, double min, double max,
                        std::string unit, std::string meaning);
/// A list of words, each one of `choices` unless that is empty.
OptionSpec texts_option(std::string name, std::vector<std::string> default_value,
                        std::vector<std::string> choices, std::string meaning);
/// The same option without a default: absent means absent.
OptionSpec optional(OptionSpec spec);

/// The value as a recipe would write it: 0.7, 3, true, "words", [1.0, 2.5].
std::string to_text(const OptionValue& value);

/// What the option takes, in words: `a number in [0, 1]`, `one of keep, reset`.
std::string want_text(const OptionSpec& spec);

/// `given` checked against one spec; InvalidArgument `[who] name: got X, want Y` otherwise.
StatusOr<OptionValue> check_option(std::string_view who, const OptionSpec& spec,
                                   const OptionValue& given);

/// A complete set: every declared option has a value, but for the optional ones.
class Options {
 public:
  /// Defaults overlaid with `given`. Unknown names list the nearest declared ones.
  static StatusOr<Options> resolve(std::string_view who, std::span<const OptionSpec> specs,
                                   const std::map<std::string, OptionValue>& given);

  bool has(std::string_view name) const { return values_.find(name) != values_.end(); }
  double real(std::string_view name) const;
  int64_t integer(std::string_view name) const;
  bool flag(std::string_view name) const;
  const std::string& text(std::string_view name) const;  // kChoice and kText
  const std::vector<double>& reals(std::string_view name) const;
  const std::vector<std::string>& texts(std::string_view name) const;
  const std::map<std::string, OptionValue, std::less<>>& values() const { return values_; }

 private:
  const OptionValue& get(std::string_view name) const;
  std::map<std::string, OptionValue, std::less<>> values_;
};

/// Up to three of `known` that are nearest to `name` by edit distance, nearest first; for error
/// messages.
std::vector<std::string> nearest_names(std::string_view name, std::span<const std::string> known);
/// ` (did you mean a, b?)` or, when nothing is near, ` (known: all of them)`.
std::string suggestion(std::string_view name, std::span<const std::string> known);

}  // namespace rubato

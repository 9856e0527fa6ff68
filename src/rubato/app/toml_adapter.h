// TOML text as a flat list of dotted keys with their lines: the only place that knows toml++ and
// catches its exceptions. It knows no key of any recipe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "rubato/base/options.h"

namespace rubato {

/// One value of a TOML file.
struct TomlKey {
  std::string key;  // tables and name joined by points: train.local_steps
  OptionValue value;
  int line = 0;  // counted from 1
};

/// The keys of `text` in the order of their lines. `source` names the text in messages: `[recipe]
/// demo.toml:3: ..`. InvalidArgument on malformed TOML, on a key that is written twice, and on a
/// kind of value that no option has (dates, lists of mixed or nested values).
StatusOr<std::vector<TomlKey>> read_toml(std::string_view text, std::string_view source);

/// A single value as the right side of `key = value`.
StatusOr<OptionValue> read_toml_value(std::string_view text, std::string_view source);

}  // namespace rubato

// Comparing what was read with what is written again, key by key.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "rubato/base/status.h"

namespace rubato {

/// Aborts when a value of `written` differs from the one `read` has under the same key; keys that
/// `read` lacks, and `derived` ones, may hold anything. 1 and 1.0 are the same number; integers
/// are compared as text, since the library takes 2^64 - 1 and -1 for equal.
template <class Json>
void check_values_kept(const Json& read, const Json& written,
                       std::initializer_list<std::string_view> derived = {}) {
  const auto same = [](const Json& a, const Json& b) {
    if (a.is_number_integer() && b.is_number_integer()) return a.dump() == b.dump();
    return a == b;
  };
  for (const auto& [key, value] : written.items()) {
    const auto it = read.find(key);
    if (it == read.end()) continue;
    if (std::find(derived.begin(), derived.end(), key) != derived.end()) continue;
    bool kept = it->type() == value.type() || it->is_number();
    if (value.is_object()) {
      if (kept) check_values_kept(*it, value, derived);
    } else if (value.is_array()) {
      kept = kept && it->size() == value.size();
      for (size_t i = 0; kept && i < value.size(); ++i) {
        if (value[i].is_object()) {
          check_values_kept((*it)[i], value[i], derived);
        } else {
          kept = same((*it)[i], value[i]);
        }
      }
    } else {
      kept = kept && same(*it, value);
    }
    RUBATO_CHECK(kept, "read ", key, " ", it->dump(), ", kept ", value.dump());
  }
}

}  // namespace rubato

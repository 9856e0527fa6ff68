// What the parts of a cluster have to tell people, as data: whoever runs them decides what is shown
// and how. Secrets are never part of it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace rubato {

struct Notice {
  enum class Level : uint8_t { kDebug, kInfo, kWarning, kError };
  using Value = std::variant<int64_t, double, std::string>;

  Level level = Level::kInfo;
  std::string_view event;  // one of docs/operating.md's; of the program, not of a caller
  std::string text;        // a sentence, one line
  std::vector<std::pair<std::string_view, Value>> facts;  // units come last in the names
};

/// Called from any thread.
using NoticeSink = std::function<void(const Notice&)>;

}  // namespace rubato

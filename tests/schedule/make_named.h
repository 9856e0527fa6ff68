// Registered things made by name, for the tests of this room.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "rubato/base/registry.h"
#include "rubato/schedule/gate.h"
#include "rubato/schedule/sampler.h"
#include "rubato/schedule/step_policy.h"

namespace rubato {

/// Aborts when the name or an option is wrong.
template <class E>
auto make_named(std::span<const E* const> entries, const std::string& name,
                const std::map<std::string, OptionValue>& given = {}) {
  const auto entry = find_entry<E>("test", "thing", entries, name);
  RUBATO_CHECK(entry.ok(), entry.status().message());
  const auto options = Options::resolve(name, (*entry)->options, given);
  RUBATO_CHECK(options.ok(), options.status().message());
  auto made = (*entry)->make(*options);
  RUBATO_CHECK(made.ok(), made.status().message());
  return std::move(made).value();
}

}  // namespace rubato

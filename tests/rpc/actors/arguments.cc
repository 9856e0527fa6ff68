#include "tests/rpc/actors/arguments.h"

#include "rubato/base/text.h"

namespace rubato {

void add_fact(Facts& facts, std::string_view word) {
  const size_t equals = word.find('=');
  if (equals == std::string_view::npos) return;
  facts[std::string(word.substr(0, equals))] = word.substr(equals + 1);
}

Facts facts_of_lines(std::string_view text) {
  Facts facts;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    add_fact(facts, text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return facts;
}

std::string to_lines(const Facts& facts) {
  std::string text;
  for (const auto& [key, value] : facts) text += cat(key, "=", value, "\n");
  return text;
}

std::string text_of(const Facts& facts, const std::string& key) {
  const auto it = facts.find(key);
  return it == facts.end() ? "" : it->second;
}

int64_t integer_of(const Facts& facts, const std::string& key, int64_t otherwise) {
  const auto it = facts.find(key);
  return it == facts.end() ? otherwise : std::stoll(it->second);
}

}  // namespace rubato

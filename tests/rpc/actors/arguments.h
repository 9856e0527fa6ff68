// What a test tells a process of the cluster that it starts: `key=value` words, and likewise the
// facts that such a process leaves in a file, one a line.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace rubato {

using Facts = std::map<std::string, std::string>;

/// Words or lines `key=value`; what has no `=` is left out.
void add_fact(Facts& facts, std::string_view word);
Facts facts_of_lines(std::string_view text);
std::string to_lines(const Facts& facts);

/// "" and `otherwise` for a key that is missing.
std::string text_of(const Facts& facts, const std::string& key);
int64_t integer_of(const Facts& facts, const std::string& key, int64_t otherwise);

}  // namespace rubato

#include "rubato/app/toml_adapter.h"

#include <algorithm>

#include <toml++/toml.h>

#include "rubato/base/one_line.h"

namespace rubato {
namespace {

class Flattener {
 public:
  explicit Flattener(std::string_view source) : source_(source) {}

  Status table(const toml::table& table, const std::string& prefix) {
    for (const auto& [key, node] : table) {
      const std::string name =
          prefix.empty() ? std::string(key.str()) : cat(prefix, ".", key.str());
      if (const toml::table* inner = node.as_table()) {
        RUBATO_RETURN_IF_ERROR(this->table(*inner, name));
        continue;
      }
      const int line = static_cast<int>(key.source().begin.line);
      RUBATO_ASSIGN_OR_RETURN(OptionValue value, node_value(node, name, line));
      keys_.push_back({name, std::move(value), line});
    }
    return absl::OkStatus();
  }

  StatusOr<std::vector<TomlKey>> sorted() && {
    std::ranges::stable_sort(keys_, {}, &TomlKey::line);
    for (size_t i = 0; i < keys_.size(); ++i) {
      // toml++ finds duplicates itself, but not a."b.c" beside a.b.c.
      const auto first = std::ranges::find(keys_, keys_[i].key, &TomlKey::key);
      if (first != keys_.begin() + static_cast<int64_t>(i)) {
        return fail(keys_[i].line, cat(keys_[i].key, " is already set in line ", first->line));
      }
    }
    return std::move(keys_);
  }

  Status fail(int line, std::string_view message) const {
    return absl::InvalidArgumentError(
        cat("[recipe] ", source_, ":", line, ": ", one_line(message)));
  }

 private:
  StatusOr<OptionValue> node_value(const toml::node& node, const std::string& name,
                                   int line) const {
    if (const auto* flag = node.as_boolean()) return OptionValue(flag->get());
    if (const auto* integer = node.as_integer()) return OptionValue(integer->get());
    if (const auto* real = node.as_floating_point()) return OptionValue(real->get());
    if (const auto* text = node.as_string()) return OptionValue(text->get());
    if (const auto* array = node.as_array()) {
      std::vector<double> numbers;
      std::vector<std::string> texts;
      for (const toml::node& item : *array) {
        // Not value<double>(), which is nothing for an integer that no double equals.
        if (const auto* real = item.as_floating_point()) numbers.push_back(real->get());
        if (const auto* integer = item.as_integer()) {
          numbers.push_back(static_cast<double>(integer->get()));
        }
        if (const auto* text = item.as_string()) texts.push_back(text->get());
      }
      if (numbers.size() == array->size()) return OptionValue(std::move(numbers));
      if (texts.size() == array->size()) return OptionValue(std::move(texts));
      return fail(line, cat(name, ": got a list of mixed values, want numbers or texts"));
    }
    return fail(line, cat(name, ": got a date or time, want a number, a text, true or false"));
  }

  std::string_view source_;
  std::vector<TomlKey> keys_;
};

}  // namespace

StatusOr<std::vector<TomlKey>> read_toml(std::string_view text, std::string_view source) {
  Flattener flattener(source);
  try {
    const toml::table table = toml::parse(text);
    RUBATO_RETURN_IF_ERROR(flattener.table(table, ""));
  } catch (const toml::parse_error& error) {
    return flattener.fail(static_cast<int>(error.source().begin.line),
                          cat("not TOML: ", error.description()));
  }
  return std::move(flattener).sorted();
}

StatusOr<OptionValue> read_toml_value(std::string_view text, std::string_view source) {
  StatusOr<std::vector<TomlKey>> keys = read_toml(cat("value = ", text, "\n"), source);
  if (!keys.ok() || keys->size() != 1 || keys->front().key != "value") {
    return absl::InvalidArgumentError(
        cat("[recipe] ", source, ": got ", one_line(shortened(text)),
            ", want a TOML value; e.g. 0.1, 3, true, \"words\" or a list"));
  }
  return std::move(keys->front().value);
}

}  // namespace rubato

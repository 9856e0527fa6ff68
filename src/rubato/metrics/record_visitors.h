// The two visitors of a record's fields: one writes them into a JSON object, one reads them back
// and keeps the first error. Internal to this room.
#pragma once

#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "rubato/base/ids.h"
#include "rubato/base/one_line.h"
#include "rubato/base/status.h"

namespace rubato {

// Far above any fleet and any staleness; keeps a corrupt line from asking for all memory.
inline constexpr int64_t kMaxSmall = 1'000'000;

class RecordWriter {
 public:
  explicit RecordWriter(nlohmann::ordered_json& out) : out_(out) {}

  template <class T>
  void field(const char* key, const T& value) {
    out_[key] = value;
  }
  void field(const char* key, double value) { real(key, value); }
  template <class T>
  void later_field(const char* key, const T& value) {
    field(key, value);
  }
  void field(const char* key, const std::optional<double>& value) {
    real(key, value.value_or(std::numeric_limits<double>::quiet_NaN()));
  }
  void field(const char* key, const std::vector<double>& values) {
    nlohmann::ordered_json array = nlohmann::ordered_json::array();
    for (const double value : values) {
      array.push_back(std::isfinite(value) ? nlohmann::ordered_json(value) : nullptr);
    }
    out_[key] = std::move(array);
  }
  template <class Tag>
  void field(const char* key, StrongInt<Tag> id) {
    out_[key] = id.value();
  }
  template <class Enum, size_t n>
  void word(const char* key, Enum value, const std::array<std::string_view, n>& words) {
    out_[key] = words[static_cast<size_t>(value)];
  }
  template <class T>
  void small(const char* key, const T& value) {
    field(key, value);
  }
  void derived(const char* key, double value) { real(key, value); }
  template <class Record, class T>
  void column(const char* key, const std::vector<Record>& rows, T Record::*member) {
    nlohmann::ordered_json values = nlohmann::ordered_json::array();
    for (const Record& row : rows) values.push_back(row.*member);
    out_[key] = std::move(values);
  }

 private:
  void real(const char* key, double value) {
    if (std::isfinite(value)) {
      out_[key] = value;
    } else {
      out_[key] = nullptr;
    }
  }
  nlohmann::ordered_json& out_;
};

class RecordReader {
 public:
  explicit RecordReader(const nlohmann::ordered_json& in) : in_(in) {}

  void field(const char* key, int64_t& value) { integer(key, value); }
  void field(const char* key, uint64_t& value) { integer(key, value); }
  void field(const char* key, bool& value) {
    if (const nlohmann::ordered_json* v =
            get(key, "true or false", &nlohmann::ordered_json::is_boolean)) {
      value = v->get<bool>();
    }
  }
  void field(const char* key, double& value) {
    std::optional<double> read;
    field(key, read);
    value = read.value_or(std::numeric_limits<double>::quiet_NaN());
  }
  void field(const char* key, std::optional<double>& value) {
    const auto it = in_.find(key);
    if (it != in_.end() && it->is_null()) {
      value.reset();
    } else if (const nlohmann::ordered_json* v =
                   get(key, "a number or null", &nlohmann::ordered_json::is_number)) {
      value = v->get<double>();
    }
  }
  void field(const char* key, std::string& value) {
    if (const nlohmann::ordered_json* v = get(key, "words", &nlohmann::ordered_json::is_string)) {
      value = v->get<std::string>();
    }
  }
  /// Reals that are not finite are null, as everywhere.
  template <class T>
  void field(const char* key, std::vector<T>& values) {
    const nlohmann::ordered_json* array = get(key, "an array", &nlohmann::ordered_json::is_array);
    if (array == nullptr) return;
    for (const nlohmann::ordered_json& value : *array) {
      const bool whole = value.is_number_integer() && fits<int64_t>(value);
      const bool real = !std::is_integral_v<T> && (value.is_number() || value.is_null());
      if (!whole && !real) return fail(cat(key, ": got ", value.dump(), ", want numbers"));
      values.push_back(value.is_null() ? std::numeric_limits<T>::quiet_NaN() : value.get<T>());
    }
  }
  /// A key that records of earlier versions lack: what is absent stays as it is.
  template <class T>
  void later_field(const char* key, T& value) {
    if (in_.contains(key)) field(key, value);
  }
  template <class Tag>
  void field(const char* key, StrongInt<Tag>& id) {
    int64_t value = 0;
    integer(key, value);
    id = StrongInt<Tag>(value);
  }
  template <class Enum, size_t n>
  void word(const char* key, Enum& value, const std::array<std::string_view, n>& words) {
    std::string read;
    field(key, read);
    for (size_t i = 0; i < n; ++i) {
      if (words[i] == read) {
        value = static_cast<Enum>(i);
        return;
      }
    }
    fail(cat(key, ": got \"", read, "\", want one of ", join(words, ", ")));
  }
  /// A count that becomes the size of an array.
  template <class T>
  void small(const char* key, T& value) {
    int64_t read = 0;
    field(key, read);
    if (read < 0 || read > kMaxSmall) fail(cat(key, ": got ", read, ", want 0 .. ", kMaxSmall));
    value = T(read);
  }
  void derived(const char*, double) {}
  template <class Record, class T>
  void column(const char* key, std::vector<Record>& rows, T Record::*member) {
    const nlohmann::ordered_json* values = get(key, "an array", &nlohmann::ordered_json::is_array);
    if (values == nullptr) return;
    if (rows.empty()) rows.resize(values->size());
    if (rows.size() != values->size()) {
      return fail(cat(key, ": got ", values->size(), " values, want ", rows.size()));
    }
    for (size_t i = 0; i < rows.size(); ++i) {
      const nlohmann::ordered_json& value = (*values)[i];
      if (std::is_integral_v<T> ? !value.is_number_integer() : !value.is_number()) {
        return fail(cat(key, "[", i, "]: got ", std::string_view(value.type_name()), ", want ",
                        std::is_integral_v<T> ? "an integer" : "a number"));
      }
      if constexpr (std::is_integral_v<T>) {
        if (!fits<T>(value)) {
          return fail(cat(key, "[", i, "]: got ", value.dump(), ", want ", range<T>()));
        }
      }
      rows[i].*member = value.template get<T>();
    }
  }
  const Status& status() const { return status_; }

 private:
  template <class Integer>
  void integer(const char* key, Integer& value) {
    if (const nlohmann::ordered_json* v =
            get(key, "an integer", &nlohmann::ordered_json::is_number_integer)) {
      if (!fits<Integer>(*v))
        return fail(cat(key, ": got ", v->dump(), ", want ", range<Integer>()));
      value = v->get<Integer>();
    }
  }
  /// The library would wrap an integer that does not fit.
  template <class Integer>
  static bool fits(const nlohmann::ordered_json& integer) {
    if (integer.is_number_unsigned()) {
      return std::in_range<Integer>(integer.get<uint64_t>());
    }
    return std::in_range<Integer>(integer.get<int64_t>());
  }
  template <class Integer>
  static std::string_view range() {
    return std::is_signed_v<Integer> ? "an integer of 64 bits" : "an integer in 0 .. 2^64 - 1";
  }
  const nlohmann::ordered_json* get(const char* key, std::string_view want,
                                    bool (nlohmann::ordered_json::*is)() const noexcept) {
    const auto it = in_.find(key);
    if (it == in_.end()) {
      fail(cat("no key \"", key, "\", want ", want));
    } else if (!((*it).*is)()) {
      fail(cat(key, ": got ", std::string_view(it->type_name()), ", want ", want));
    } else {
      return &*it;
    }
    return nullptr;
  }
  void fail(std::string_view message) {
    if (status_.ok()) status_ = absl::InvalidArgumentError(one_line(message));
  }
  const nlohmann::ordered_json& in_;
  Status status_;
};

}  // namespace rubato

#include "rubato/base/state_walk.h"

#include <cstring>

namespace rubato {
namespace {

template <class T>
std::string bytes_of(const T& value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof value);
}

constexpr size_t kAnySize = ~size_t{0};

}  // namespace

void PrefixedWalk::plane(std::string_view name, std::span<float> values) {
  inner_.plane(cat(prefix_, name), values);
}
void PrefixedWalk::counter(std::string_view name, int64_t& value) {
  inner_.counter(cat(prefix_, name), value);
}
void PrefixedWalk::scalar(std::string_view name, double& value) {
  inner_.scalar(cat(prefix_, name), value);
}
void PrefixedWalk::record(std::string_view name, std::string& bytes) {
  inner_.record(cat(prefix_, name), bytes);
}

void StateSaver::put(std::string_view name, std::string bytes) {
  const bool inserted = image_.emplace(cat(prefix_, name), std::move(bytes)).second;
  RUBATO_CHECK(inserted, "two parts of one state are called ", prefix_, name);
}

void StateSaver::plane(std::string_view name, std::span<float> values) {
  put(name, std::string(reinterpret_cast<const char*>(values.data()), values.size_bytes()));
}
void StateSaver::counter(std::string_view name, int64_t& value) { put(name, bytes_of(value)); }
void StateSaver::scalar(std::string_view name, double& value) { put(name, bytes_of(value)); }
void StateSaver::record(std::string_view name, std::string& bytes) { put(name, bytes); }

const std::string* StateRestorer::get(std::string_view name, size_t want_bytes) {
  const auto it = image_.find(cat(prefix_, name));
  if (it == image_.end()) {
    status_.Update(absl::DataLossError(cat("[state] ", prefix_, name, " is missing")));
    return nullptr;
  }
  if (want_bytes != kAnySize && it->second.size() != want_bytes) {
    status_.Update(absl::DataLossError(
        cat("[state] ", prefix_, name, ": got ", it->second.size(), " bytes, want ", want_bytes)));
    return nullptr;
  }
  return &it->second;
}

void StateRestorer::plane(std::string_view name, std::span<float> values) {
  if (const std::string* bytes = get(name, values.size_bytes())) {
    if (!bytes->empty()) std::memcpy(values.data(), bytes->data(), bytes->size());
  }
}
void StateRestorer::counter(std::string_view name, int64_t& value) {
  if (const std::string* bytes = get(name, sizeof value))
    std::memcpy(&value, bytes->data(), sizeof value);
}
void StateRestorer::scalar(std::string_view name, double& value) {
  if (const std::string* bytes = get(name, sizeof value))
    std::memcpy(&value, bytes->data(), sizeof value);
}
void StateRestorer::record(std::string_view name, std::string& bytes) {
  if (const std::string* found = get(name, kAnySize)) bytes = *found;
}

}  // namespace rubato

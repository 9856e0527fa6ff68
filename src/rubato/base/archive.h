// A compact two-way archive for small structured state (ledgers, queues, tasks): one `archive(a)`
// member per struct serves writing and reading. Little-endian, no padding; the format version
// belongs to whoever stores the bytes.
//
//   struct Point { int64_t x, y; template <class A> void archive(A& a) { a(x, y); } };
#pragma once

#include <concepts>
#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "rubato/base/ids.h"
#include "rubato/base/state_walk.h"
#include "rubato/base/status.h"

namespace rubato {

/// Appends values to `bytes`.
class ArchiveWriter {
 public:
  template <class... T>
  void operator()(T&... values) {
    (put(values), ...);
  }
  std::string bytes;

 private:
  template <class T>
  requires(std::is_arithmetic_v<T> || std::is_enum_v<T>) void put(T& value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  template <class Tag>
  void put(StrongInt<Tag>& id) {
    int64_t value = id.value();
    put(value);
  }
  void put(std::string& text) {
    size(text.size());
    bytes += text;
  }
  template <class A, class B>
  void put(std::pair<A, B>& pair) {
    (*this)(const_cast<std::remove_const_t<A>&>(pair.first), pair.second);
  }
  template <class T>
  void put(std::optional<T>& value) {
    bool present = value.has_value();
    put(present);
    if (present) put(*value);
  }
  template <class T>
  void put(std::vector<T>& items) {
    range(items);
  }
  template <class T>
  void put(std::deque<T>& items) {
    range(items);
  }
  template <class K, class V>
  void put(std::map<K, V>& items) {
    range(items);
  }
  template <class T>
  requires requires(T& t, ArchiveWriter& a) { t.archive(a); }
  void put(T& value) { value.archive(*this); }
  template <class Range>
  void range(Range& items) {
    size(items.size());
    for (auto& item : items) put(item);
  }
  void size(size_t count) {
    uint64_t value = count;
    put(value);
  }
};

/// Reads what ArchiveWriter wrote; truncated or oversized input sets status() and yields zeros,
/// never a crash.
class ArchiveReader {
 public:
  explicit ArchiveReader(std::string_view bytes) : rest_(bytes) {}
  template <class... T>
  void operator()(T&... values) {
    (get(values), ...);
  }
  /// OK when everything was read and nothing is left over.
  Status finish() const {
    if (failed_) return absl::DataLossError("[archive] the record is truncated or damaged");
    if (!rest_.empty())
      return absl::DataLossError(cat("[archive] ", rest_.size(), " bytes left over"));
    return absl::OkStatus();
  }

 private:
  template <class T>
  requires(std::is_arithmetic_v<T> || std::is_enum_v<T>) void get(T& value) {
    if (rest_.size() < sizeof value) {
      failed_ = true;
      rest_ = {};
      value = T{};
      return;
    }
    std::memcpy(&value, rest_.data(), sizeof value);
    rest_.remove_prefix(sizeof value);
  }
  void get(bool& value) {
    uint8_t byte = 0;
    get(byte);
    if (byte > 1) failed_ = true;
    value = byte == 1;
  }
  template <class Tag>
  void get(StrongInt<Tag>& id) {
    int64_t value = 0;
    get(value);
    id = StrongInt<Tag>(value);
  }
  void get(std::string& text) {
    const size_t count = size();
    text.assign(rest_.substr(0, count));
    rest_.remove_prefix(count);
  }
  template <class A, class B>
  void get(std::pair<A, B>& pair) {
    (*this)(pair.first, pair.second);
  }
  template <class T>
  void get(std::optional<T>& value) {
    bool present = false;
    get(present);
    value.reset();
    if (present) get(value.emplace());
  }
  template <class T>
  void get(std::vector<T>& items) {
    range(items);
  }
  template <class T>
  void get(std::deque<T>& items) {
    range(items);
  }
  template <class K, class V>
  void get(std::map<K, V>& items) {
    items.clear();
    for (size_t count = size(); count > 0 && !failed_; --count) {
      std::pair<K, V> item;
      get(item);
      items.insert(std::move(item));
    }
  }
  template <class T>
  requires requires(T& t, ArchiveReader& a) { t.archive(a); }
  void get(T& value) { value.archive(*this); }
  template <class Range>
  void range(Range& items) {
    items.clear();
    for (size_t count = size(); count > 0 && !failed_; --count) get(items.emplace_back());
  }
  // A count can never exceed the bytes that are left: every item takes at least one.
  size_t size() {
    uint64_t value = 0;
    get(value);
    if (value > rest_.size()) {
      failed_ = true;
      rest_ = {};
      return 0;
    }
    return static_cast<size_t>(value);
  }

  std::string_view rest_;
  bool failed_ = false;
};

template <class T>
std::string to_archive(T& value) {
  ArchiveWriter writer;
  writer(value);
  return std::move(writer.bytes);
}

template <class T>
Status from_archive(std::string_view bytes, T& value) {
  ArchiveReader reader(bytes);
  reader(value);
  return reader.finish();
}

/// Walks structured state as one record: `parts(archive)` hands every part to the archive, in
/// order, for writing and for reading alike.
template <class Parts>
void walk_record(StateWalk& walk, std::string_view name, const Parts& parts) {
  ArchiveWriter writer;
  parts(writer);
  std::string bytes = std::move(writer.bytes);
  walk.record(name, bytes);
  ArchiveReader reader(bytes);
  parts(reader);
  if (Status status = reader.finish(); !status.ok()) walk.refuse(annotate(status, name));
}

}  // namespace rubato

// What the coordinator asks about all workers at once, kept in order while one worker after the
// other changes: who waits, who is expected when, and by whose speed the others may be measured.
// It follows from the state and is no part of it: a restored machine makes it anew.
//
// Flat arrays: an event moves a few of their entries, which at 10,000 workers takes microseconds.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "rubato/base/ids.h"

namespace rubato {

class WorkerIndex {
 public:
  struct Row {
    bool waits = false;                   // for a task
    std::optional<Nanos> expected = {};   // to wait; nothing of one that waits or has no task
    std::optional<Nanos> reference = {};  // [ns/step] that others may be measured by
    friend bool operator==(const Row&, const Row&) = default;
  };
  using Reference = std::pair<Nanos, WorkerId>;

  /// What is true of `worker` from now on.
  void set(WorkerId worker, const Row& row) {
    Row& old = rows_[worker];
    const auto listed = [worker](bool waits) {
      return waits ? std::optional(worker) : std::nullopt;
    };
    if (row.waits != old.waits) replace(waiting_, listed(old.waits), listed(row.waits));
    if (row.expected != old.expected) replace(expected_, old.expected, row.expected);
    if (row.reference != old.reference) {
      replace(references_, with(old.reference, worker), with(row.reference, worker));
    }
    old = row;
  }
  void clear() { *this = {}; }

  /// By id.
  const std::vector<WorkerId>& waiting() const { return waiting_; }
  /// Ascending.
  std::span<const Nanos> expected() const { return expected_; }
  /// The fastest first.
  std::span<const Reference> references() const { return references_; }

 private:
  static std::optional<Reference> with(std::optional<Nanos> speed, WorkerId worker) {
    if (!speed) return std::nullopt;
    return Reference(*speed, worker);
  }
  template <class T>
  static void replace(std::vector<T>& sorted, const std::optional<T>& old,
                      const std::optional<T>& now) {
    if (old) sorted.erase(std::ranges::lower_bound(sorted, *old));
    if (now) sorted.insert(std::ranges::upper_bound(sorted, *now), *now);
  }

  std::map<WorkerId, Row> rows_;
  std::vector<WorkerId> waiting_;
  std::vector<Nanos> expected_;
  std::vector<Reference> references_;
};

}  // namespace rubato

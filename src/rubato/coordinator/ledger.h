// The data ledger: where every sequence of every shard is. The unit is (shard, epoch, position in
// the seeded order). A position is issued once per epoch and ends applied exactly once, discarded
// or quarantined:
//
//   issue -> assigned -> applied | discarded | returned | quarantined;   returned -> assigned
//   (first in line)
//
// The invariant, per shard and epoch: issued = assigned + applied + returned + discarded +
// quarantined. Memory: the returned ranges and one count row per unfinished epoch. Held by
// tests/coordinator/ledger_property_test.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <vector>

#include "rubato/coordinator/task.h"

namespace rubato {

struct FateCounts {
  int64_t issued = 0, assigned = 0, applied = 0, returned = 0, discarded = 0,
          quarantined = 0;  // [sequences]

  bool balanced() const {
    return issued == assigned + applied + returned + discarded + quarantined;
  }
  FateCounts& operator+=(const FateCounts& other);
  friend bool operator==(const FateCounts&, const FateCounts&) = default;
  template <class A>
  void archive(A& a) {
    a(issued, assigned, applied, returned, discarded, quarantined);
  }
};

/// Rejected deltas over one range before it is trusted no more.
inline constexpr int64_t kRejectsUntilQuarantine = 3;

class Ledger {
 public:
  Ledger() = default;
  /// Sizes of the shards in sequences, each > 0.
  explicit Ledger(std::vector<int64_t> shard_sequences);

  /// Assigns `count` sequences of `shard`: returned ones first, then fresh ones, crossing into the
  /// next epoch where this one ends. `superseded` receives the tasks whose returned data this takes
  /// over.
  std::vector<DataRange> assign(ShardId shard, int64_t count, std::vector<TaskId>& superseded);

  void apply(ShardId shard, const std::vector<DataRange>& ranges);
  void discard(ShardId shard, const std::vector<DataRange>& ranges);
  /// Back in line; `by` may still deliver them until somebody else is assigned any of them.
  void give_back(ShardId shard, const std::vector<DataRange>& ranges, TaskId by);
  /// A delta over these ranges was refused: back in line, or quarantined after
  /// kRejectsUntilQuarantine refusals.
  void reject(ShardId shard, const std::vector<DataRange>& ranges);
  /// Takes ranges that `by` gave back out of the line again, for its late delta; false (and no
  /// change) when they are not all there any more.
  bool reclaim(ShardId shard, const std::vector<DataRange>& ranges, TaskId by);

  int64_t num_shards() const { return static_cast<int64_t>(shards_.size()); }
  int64_t shard_size(ShardId shard) const { return at(shard).size; }
  /// Counts of one unfinished epoch (zeros where nothing is known), of a whole shard, of
  /// everything.
  FateCounts epoch_counts(ShardId shard, int64_t epoch) const;
  FateCounts shard_counts(ShardId shard) const;
  FateCounts total_counts() const;

  template <class A>
  void archive(A& a) {
    a(shards_);
  }

 private:
  struct Returned {
    DataRange range;
    TaskId by;  // kNobody after a refusal
    template <class A>
    void archive(A& a) {
      a(range, by);
    }
  };
  struct Shard {
    int64_t size = 0;
    int64_t epoch = 0, next = 0;  // the first position not issued yet
    std::deque<Returned> returned;
    std::map<int64_t, FateCounts> open;  // epochs with sequences not issued, assigned or returned
    FateCounts closed;                   // sum over the finished epochs
    template <class A>
    void archive(A& a) {
      a(size, epoch, next, returned, open, closed);
    }
  };
  static constexpr TaskId kNobody{-1};

  Shard& at(ShardId shard);
  const Shard& at(ShardId shard) const;
  void move(Shard& shard, const std::vector<DataRange>& ranges, int64_t FateCounts::*from,
            int64_t FateCounts::*to);
  static void close_if_finished(Shard& shard, int64_t epoch);

  std::vector<Shard> shards_;
};

}  // namespace rubato

#include "rubato/coordinator/ledger.h"

#include <algorithm>

#include "rubato/base/status.h"

namespace rubato {

SplitRanges split_ranges(const std::vector<DataRange>& ranges, int64_t count) {
  SplitRanges split;
  for (const DataRange& range : ranges) {
    const int64_t taken = std::min(count, range.count);
    count -= taken;
    if (taken > 0) split.prefix.push_back({range.epoch, range.first, taken, range.rejects});
    if (taken < range.count) {
      split.rest.push_back({range.epoch, range.first + taken, range.count - taken, range.rejects});
    }
  }
  RUBATO_CHECK(count == 0, "the ranges are ", count, " sequences short");
  return split;
}

FateCounts& FateCounts::operator+=(const FateCounts& other) {
  issued += other.issued;
  assigned += other.assigned;
  applied += other.applied;
  returned += other.returned;
  discarded += other.discarded;
  quarantined += other.quarantined;
  return *this;
}

Ledger::Ledger(std::vector<int64_t> shard_sequences) {
  for (int64_t size : shard_sequences) {
    RUBATO_CHECK(size > 0, "a shard is empty");
    shards_.emplace_back().size = size;
  }
}

Ledger::Shard& Ledger::at(ShardId shard) {
  RUBATO_CHECK(shard.value() >= 0 && shard.value() < num_shards(), "shard ", shard);
  return shards_[static_cast<size_t>(shard.value())];
}

const Ledger::Shard& Ledger::at(ShardId shard) const {
  return const_cast<Ledger*>(this)->at(shard);
}

std::vector<DataRange> Ledger::assign(ShardId id, int64_t count, std::vector<TaskId>& superseded) {
  Shard& shard = at(id);
  std::vector<DataRange> ranges;
  while (count > 0 && !shard.returned.empty()) {
    Returned& front = shard.returned.front();
    const int64_t taken = std::min(count, front.range.count);
    ranges.push_back({front.range.epoch, front.range.first, taken, front.range.rejects});
    if (front.by != kNobody) superseded.push_back(front.by);
    FateCounts& counts = shard.open[front.range.epoch];
    counts.returned -= taken;
    counts.assigned += taken;
    count -= taken;
    front.range.first += taken;
    front.range.count -= taken;
    if (front.range.count == 0) shard.returned.pop_front();
  }
  while (count > 0) {
    const int64_t taken = std::min(count, shard.size - shard.next);
    ranges.push_back({shard.epoch, shard.next, taken, 0});
    FateCounts& counts = shard.open[shard.epoch];
    counts.issued += taken;
    counts.assigned += taken;
    count -= taken;
    shard.next += taken;
    if (shard.next == shard.size) {
      shard.next = 0;
      ++shard.epoch;
    }
  }
  return ranges;
}

void Ledger::move(Shard& shard, const std::vector<DataRange>& ranges, int64_t FateCounts::*from,
                  int64_t FateCounts::*to) {
  for (const DataRange& range : ranges) {
    FateCounts& counts = shard.open[range.epoch];
    counts.*from -= range.count;
    counts.*to += range.count;
    RUBATO_CHECK(counts.*from >= 0 && counts.balanced(), "the ledger lost count of epoch ",
                 range.epoch);
    close_if_finished(shard, range.epoch);
  }
}

void Ledger::close_if_finished(Shard& shard, int64_t epoch) {
  const auto it = shard.open.find(epoch);
  const FateCounts& counts = it->second;
  if (counts.issued < shard.size || counts.assigned > 0 || counts.returned > 0) return;
  shard.closed += counts;
  shard.open.erase(it);
}

void Ledger::apply(ShardId id, const std::vector<DataRange>& ranges) {
  move(at(id), ranges, &FateCounts::assigned, &FateCounts::applied);
}

void Ledger::discard(ShardId id, const std::vector<DataRange>& ranges) {
  move(at(id), ranges, &FateCounts::assigned, &FateCounts::discarded);
}

void Ledger::give_back(ShardId id, const std::vector<DataRange>& ranges, TaskId by) {
  Shard& shard = at(id);
  move(shard, ranges, &FateCounts::assigned, &FateCounts::returned);
  for (const DataRange& range : ranges) shard.returned.push_back({range, by});
}

void Ledger::reject(ShardId id, const std::vector<DataRange>& ranges) {
  Shard& shard = at(id);
  for (DataRange range : ranges) {
    ++range.rejects;
    if (range.rejects >= kRejectsUntilQuarantine) {
      move(shard, {range}, &FateCounts::assigned, &FateCounts::quarantined);
    } else {
      give_back(id, {range}, kNobody);
    }
  }
}

bool Ledger::reclaim(ShardId id, const std::vector<DataRange>& ranges, TaskId by) {
  Shard& shard = at(id);
  // A prefix of what was given back: every wanted range starts where a returned one does.
  std::vector<size_t> places;
  for (const DataRange& wanted : ranges) {
    const auto it = std::ranges::find_if(shard.returned, [&](const Returned& returned) {
      return returned.by == by && returned.range.epoch == wanted.epoch &&
             returned.range.first == wanted.first && returned.range.count >= wanted.count;
    });
    if (it == shard.returned.end()) return false;
    places.push_back(static_cast<size_t>(it - shard.returned.begin()));
  }
  for (size_t i = 0; i < ranges.size(); ++i) {
    DataRange& range = shard.returned[places[i]].range;
    range.first += ranges[i].count;
    range.count -= ranges[i].count;
    FateCounts& counts = shard.open[ranges[i].epoch];
    counts.returned -= ranges[i].count;
    counts.assigned += ranges[i].count;
  }
  std::erase_if(shard.returned, [](const Returned& returned) { return returned.range.count == 0; });
  return true;
}

FateCounts Ledger::epoch_counts(ShardId id, int64_t epoch) const {
  const Shard& shard = at(id);
  const auto it = shard.open.find(epoch);
  return it == shard.open.end() ? FateCounts{} : it->second;
}

FateCounts Ledger::shard_counts(ShardId id) const {
  const Shard& shard = at(id);
  FateCounts sum = shard.closed;
  for (const auto& [epoch, counts] : shard.open) sum += counts;
  return sum;
}

FateCounts Ledger::total_counts() const {
  FateCounts sum;
  for (int64_t i = 0; i < num_shards(); ++i) sum += shard_counts(ShardId(i));
  return sum;
}

}  // namespace rubato

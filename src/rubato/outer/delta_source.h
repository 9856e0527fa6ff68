// Where a chain reads a pseudo-gradient: block by block, so that an encoded delta or a group's mean
// never lies in memory as a whole. Every reading gives the same bits, whichever blocks it is cut
// into. Memory: the reader's stack, 16 KiB a thread and nesting.
#pragma once

#include <cstdint>
#include <span>

#include "rubato/base/flat_ops.h"
#include "rubato/base/status.h"

namespace rubato {

/// A pseudo-gradient [P] of any form.
class DeltaSource {
 public:
  virtual ~DeltaSource() = default;
  /// P.
  virtual int64_t size() const = 0;
  /// The floats [offset, offset + size): where they lie, or in `scratch`, which has `size` floats;
  /// good as long as both. 1 <= size <= kBlockFloats. Any thread, several at once; total.
  virtual const float* block(int64_t offset, int64_t size, float* scratch) const = 0;
};

/// Floats that lie in memory; copies nothing. They are the caller's.
class PlainDelta final : public DeltaSource {
 public:
  explicit PlainDelta(std::span<const float> values) : values_(values) {}
  int64_t size() const override { return static_cast<int64_t>(values_.size()); }
  const float* block(int64_t offset, int64_t, float*) const override {
    return values_.data() + offset;
  }

 private:
  std::span<const float> values_;  // [P]
};

/// sum weight * member, summed in the members' order.
class WeightedSum final : public DeltaSource {
 public:
  struct Member {
    double weight;             // [1]
    const DeltaSource* delta;  // [P], not owned
  };
  /// At least one member, all of one size; the span is the caller's.
  explicit WeightedSum(std::span<const Member> members) : members_(members) {
    RUBATO_CHECK(!members.empty());
    for (const Member& member : members) RUBATO_CHECK(member.delta->size() == size());
  }
  int64_t size() const override { return members_[0].delta->size(); }
  const float* block(int64_t offset, int64_t size, float* scratch) const override;

 private:
  std::span<const Member> members_;
};

}  // namespace rubato

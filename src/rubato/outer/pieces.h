// The flat buffer cut in pieces, each within one tensor and at most kBlockFloats long: how threads
// share an update, and the order in which its sums are added, whoever made them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "rubato/base/flat_ops.h"
#include "rubato/base/float_env.h"
#include "rubato/base/layout.h"
#include "rubato/base/parallel.h"

namespace rubato {

class Pieces {
 public:
  struct Piece {
    int64_t tensor, offset, size;  // [floats] of the flat buffer
  };
  explicit Pieces(const Layout& layout)
      : num_tensors_(static_cast<int64_t>(layout.tensors().size())) {
    int64_t job = kJobFloats;  // floats in the job being filled; full, so that the first opens one
    for (int64_t t = 0; t < num_tensors_; ++t) {
      const TensorSpec& tensor = layout.tensors()[static_cast<size_t>(t)];
      for (int64_t begin = 0; begin < tensor.size; begin += kBlockFloats) {
        if (job >= kJobFloats) {
          group_begins_.push_back(size());
          job = 0;
        }
        const int64_t floats = std::min(kBlockFloats, tensor.size - begin);
        pieces_.push_back({t, tensor.offset + begin, floats});
        job += floats;
      }
    }
    group_begins_.push_back(size());
  }

  int64_t num_tensors() const { return num_tensors_; }
  int64_t size() const { return static_cast<int64_t>(pieces_.size()); }
  const Piece& operator[](int64_t i) const { return pieces_[static_cast<size_t>(i)]; }

  /// body(piece index) for every piece, in parallel over groups of pieces when `pool` is given.
  template <class Body>
  void for_each(ThreadPool* pool, const Body& body) const {
    const auto run_group = [&](int64_t group) {
      const auto g = static_cast<size_t>(group);
      for (int64_t i = group_begins_[g]; i < group_begins_[g + 1]; ++i) body(i);
    };
    const auto groups = static_cast<int64_t>(group_begins_.size()) - 1;
    if (pool != nullptr && groups > 1) {
      pool->for_each(groups, run_group);
    } else {
      flush_denormals();
      for (int64_t group = 0; group < groups; ++group) run_group(group);
    }
  }

 private:
  // 256 KiB of delta per parallel job: handing a job over costs microseconds, the job tens of them.
  static constexpr int64_t kJobFloats = 16 * kBlockFloats;

  int64_t num_tensors_;
  std::vector<Piece> pieces_;
  std::vector<int64_t> group_begins_;  // first piece of each parallel job, then pieces_.size()
};

}  // namespace rubato

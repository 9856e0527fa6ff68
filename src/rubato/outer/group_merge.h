// A group's deltas on their way to being one: their weighted sum, whose weights a link chooses
// tensor by tensor. It measures what such a link reads, members and sum, in passes over memory; the
// sum itself is made block by block when the chain reads it. Threads and block sizes change no bit.
#pragma once

#include <span>
#include <vector>

#include "rubato/base/parallel.h"
#include "rubato/outer/delta_source.h"
#include "rubato/outer/pieces.h"

namespace rubato {

class GroupMerge final : public DeltaSource {
 public:
  explicit GroupMerge(const Layout& layout);

  /// Takes a group up: every tensor's weights are the gate's. Members and pool are the caller's,
  /// until the next one. Memory: a double per member and piece, kept from group to group.
  void begin(std::span<const WeightedSum::Member> members, ThreadPool* pool);

  int64_t num_tensors() const { return pieces_.num_tensors(); }
  int64_t num_members() const { return std::ssize(members_); }
  double gate_weight(int64_t member) const { return members_[static_cast<size_t>(member)].weight; }
  /// [members] What the sum multiplies this tensor of each delta with.
  std::span<double> weights(int64_t tensor) { return row(weights_, tensor); }
  /// [members] |delta_i| of this tensor, when measure_members() has been called.
  std::span<const double> norms(int64_t tensor) { return row(norms_, tensor); }
  /// One pass over all deltas.
  void measure_members();
  /// By tensor, the norm of the sum with the weights as they are: one pass over all deltas.
  std::span<const double> measure_sum();

  int64_t size() const override { return num_params_; }
  const float* block(int64_t offset, int64_t size, float* scratch) const override;

 private:
  std::span<double> row(std::vector<double>& of, int64_t tensor) const {
    const size_t n = members_.size();
    return std::span(of).subspan(static_cast<size_t>(tensor) * n, n);
  }
  const float* sum_of(int64_t tensor, int64_t offset, int64_t size, float* scratch) const;

  int64_t num_params_;
  Pieces pieces_;
  std::vector<int64_t> begins_;  // [floats] by tensor
  std::span<const WeightedSum::Member> members_;
  ThreadPool* pool_ = nullptr;
  std::vector<double> weights_, norms_;  // [tensors * members]
  std::vector<double> square_sums_;      // [pieces * members], or of the sum [pieces]
  std::vector<double> sum_norms_;        // [tensors]
};

}  // namespace rubato

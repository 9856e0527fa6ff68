#include "rubato/outer/group_merge.h"

#include <cmath>

#include "rubato/outer/measure.h"

namespace rubato {

GroupMerge::GroupMerge(const Layout& layout)
    : num_params_(layout.size()), pieces_(layout), sum_norms_(layout.tensors().size()) {
  for (const TensorSpec& tensor : layout.tensors()) begins_.push_back(tensor.offset);
}

void GroupMerge::begin(std::span<const WeightedSum::Member> members, ThreadPool* pool) {
  for (const WeightedSum::Member& member : members) RUBATO_CHECK(member.delta->size() == size());
  members_ = members;
  pool_ = pool;
  weights_.resize(static_cast<size_t>(num_tensors()) * members.size());
  norms_.resize(weights_.size());
  square_sums_.resize(static_cast<size_t>(pieces_.size()) * members.size());
  for (size_t i = 0; i < weights_.size(); ++i) weights_[i] = members[i % members.size()].weight;
}

void GroupMerge::measure_members() {
  const size_t n = members_.size();
  pieces_.for_each(pool_, [&](int64_t i) {
    alignas(64) float decoded[kBlockFloats];
    const auto& [tensor, offset, floats] = pieces_[i];
    for (size_t j = 0; j < n; ++j) {
      square_sums_[static_cast<size_t>(i) * n + j] =
          square_sum(members_[j].delta->block(offset, floats, decoded), floats);
    }
  });
  std::ranges::fill(norms_, 0.0);
  for (int64_t i = 0; i < pieces_.size(); ++i) {
    const std::span<double> norms = row(norms_, pieces_[i].tensor);
    for (size_t j = 0; j < n; ++j) norms[j] += square_sums_[static_cast<size_t>(i) * n + j];
  }
  for (double& norm : norms_) norm = std::sqrt(norm);
}

std::span<const double> GroupMerge::measure_sum() {
  pieces_.for_each(pool_, [&](int64_t i) {
    alignas(64) float made[kBlockFloats];
    const auto& [tensor, offset, floats] = pieces_[i];
    square_sums_[static_cast<size_t>(i)] = square_sum(sum_of(tensor, offset, floats, made), floats);
  });
  std::ranges::fill(sum_norms_, 0.0);
  for (int64_t i = 0; i < pieces_.size(); ++i) {
    sum_norms_[static_cast<size_t>(pieces_[i].tensor)] += square_sums_[static_cast<size_t>(i)];
  }
  for (double& norm : sum_norms_) norm = std::sqrt(norm);
  return sum_norms_;
}

const float* GroupMerge::sum_of(int64_t tensor, int64_t offset, int64_t size,
                                float* scratch) const {
  alignas(64) float of_member[kBlockFloats];
  const std::span<float> sum(scratch, static_cast<size_t>(size));
  std::ranges::fill(sum, 0.0f);
  const double* weights = weights_.data() + static_cast<size_t>(tensor) * members_.size();
  for (size_t j = 0; j < members_.size(); ++j) {
    const float* values = members_[j].delta->block(offset, size, of_member);
    add_scaled(static_cast<float>(weights[j]), {values, sum.size()}, sum);
  }
  return scratch;
}

// A block may reach over the border of two tensors, whoever asks.
const float* GroupMerge::block(int64_t offset, int64_t size, float* scratch) const {
  auto tensor = std::ranges::upper_bound(begins_, offset) - begins_.begin() - 1;
  for (int64_t done = 0; done < size; ++tensor) {
    const int64_t end =
        tensor + 1 < num_tensors() ? begins_[static_cast<size_t>(tensor) + 1] : num_params_;
    const int64_t part = std::min(size - done, end - offset - done);
    sum_of(tensor, offset + done, part, scratch + done);
    done += part;
  }
  return scratch;
}

}  // namespace rubato

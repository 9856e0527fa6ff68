// radial_directional (RDA): a group's deltas v_i of weights a_i become one whose length is the mean
// length and whose direction is the mean direction, tensor by tensor. A plain mean of deltas that
// point apart is short; this one is not.
//   g = (sum a_i |v_i|) * phi(sum a_i phi(v_i)),   phi(x) = x/|x|, phi(0) = 0
// Where the directions cancel, and for embeddings, whose rows are mostly zero in any one delta, it
// is the weighted mean. The gate gives the weights, which sum to 1 unless the door has clipped a
// member: that one then counts less in the direction, too. A lone delta is left as it is. Source:
// Decoupled DiLoCo, arXiv:2604.21428, with weights tokens^2/steps (quorum's default). State: none.
// Costs two more passes over the group's deltas. Invariant: equal deltas give themselves; the
// direction does not see the members' lengths (RadialDirectional.* in successors_test).
#include "rubato/outer/group_merge.h"
#include "rubato/outer/kernels.h"

namespace rubato {
namespace {

constexpr double kCancelled = 1e-6;  // of the weights: what floats leave of a sum that is zero

class RadialDirectional final : public OuterStage {
 public:
  explicit RadialDirectional(std::span<const TensorSpec> tensors) {
    for (const TensorSpec& tensor : tensors)
      averaged_.push_back(tensor.role == TensorRole::kEmbedding);
  }
  StageNeeds needs() const override { return {.group = true}; }
  void merge(GroupMerge& group) override {
    group.measure_members();
    double whole = 0;
    for (int64_t i = 0; i < group.num_members(); ++i) whole += group.gate_weight(i);
    for (int64_t t = 0; t < group.num_tensors(); ++t) {
      if (!averaged_[static_cast<size_t>(t)]) weigh_directions(group, t);
    }
    const std::span<const double> lengths = group.measure_sum();
    for (int64_t t = 0; t < group.num_tensors(); ++t) {
      const auto at = static_cast<size_t>(t);
      if (!averaged_[at]) stretch(group, t, lengths[at], whole);
    }
  }
  StagePlan plan(const UpdateFacts&) override { return {}; }
  void apply(Block&, const StagePlan&) override {}

 private:
  // The sum becomes that of a_i phi(v_i).
  static void weigh_directions(GroupMerge& group, int64_t tensor) {
    const std::span<double> weights = group.weights(tensor);
    const std::span<const double> norms = group.norms(tensor);
    for (size_t i = 0; i < weights.size(); ++i) {
      weights[i] = norms[i] > 0 ? weights[i] / norms[i] : 0;
    }
  }

  // .. and gets the mean length; `length` is what it has.
  static void stretch(GroupMerge& group, int64_t tensor, double length, double whole) {
    const std::span<double> weights = group.weights(tensor);
    if (length <= kCancelled * whole) {
      for (size_t i = 0; i < weights.size(); ++i)
        weights[i] = group.gate_weight(static_cast<int64_t>(i));
      return;
    }
    const std::span<const double> norms = group.norms(tensor);
    double radius = 0;
    for (size_t i = 0; i < norms.size(); ++i)
      radius += group.gate_weight(static_cast<int64_t>(i)) * norms[i];
    for (double& weight : weights) weight *= radius / length;
  }

  std::vector<bool> averaged_;  // by tensor: by a weighted mean, because it is an embedding
};

StatusOr<std::unique_ptr<OuterStage>> make_radial_directional(const Options&,
                                                              const OuterContext& context) {
  return std::make_unique<RadialDirectional>(context.tensors);
}

}  // namespace

extern const OuterEntry kRadialDirectionalEntry = {
    {{"radial_directional",
      "merges a group by mean length and mean direction instead of by mean",
      "g = (sum a_i |v_i|) * phi(sum a_i phi(v_i)), phi(x) = x/|x|, tensor by tensor; embeddings: "
      "sum a_i v_i",
      "Decoupled DiLoCo, arXiv:2604.21428",
      {}},
     make_radial_directional},
    StageKind::kLink};

}  // namespace rubato

#include "rubato/trainer/opaque_workload.h"

#include <utility>

namespace rubato {
namespace {

Status not_here(std::string_view what) {
  return absl::UnimplementedError(cat("[opaque] got a call to ", what,
                                      ", want one for a model of this program; an opaque model is "
                                      "known to its workers alone"));
}

}  // namespace

OpaqueWorkload::OpaqueWorkload(const OpaqueOptions& options, Layout layout,
                               std::shared_ptr<const InnerOptimizer> optimizer)
    : options_(options), layout_(std::move(layout)), optimizer_(std::move(optimizer)) {
  RUBATO_CHECK(optimizer_ != nullptr);
}

void OpaqueWorkload::initialise(uint64_t /*seed*/, std::span<float> /*params*/) const {
  RUBATO_CHECK(false, "an opaque model's initial parameters come from its first worker");
}

std::vector<int64_t> OpaqueWorkload::shard_sequences() const {
  return std::vector<int64_t>(static_cast<size_t>(options_.shards), options_.sequences_per_shard);
}

StatusOr<std::unique_ptr<Trainer>> OpaqueWorkload::make_trainer(int64_t, int) const {
  return not_here("train");
}

StatusOr<EvalResult> OpaqueWorkload::evaluate(std::span<const float>, int) const {
  return not_here("evaluate");
}

}  // namespace rubato

#include "rubato/server/server_model.h"

#include <algorithm>

#include "rubato/base/flat_ops.h"
#include "rubato/base/float_env.h"

namespace rubato {

ServerModel::ServerModel(std::vector<float> theta, std::unique_ptr<OuterChain> chain,
                         ThreadPool* pool)
    : theta_(std::move(theta)), chain_(std::move(chain)), pool_(pool) {}

void ServerModel::apply(const Apply& effect, std::span<const Delta> deltas) {
  RUBATO_CHECK(deltas.size() == effect.members.size() && !deltas.empty());
  UpdateFacts facts;
  facts.staleness = effect.staleness;
  facts.tokens = effect.tokens;
  facts.steps = effect.steps;
  facts.group_size = static_cast<int64_t>(deltas.size());

  std::span<const float> update = deltas[0].values;
  if (deltas.size() > 1 || effect.members[0].weight != 1.0) {
    sum_members(effect, deltas);
    update = mean_;
  }
  const std::span<const float> base =
      deltas[0].base ? std::span<const float>(*deltas[0].base) : std::span<const float>();
  const Verdict verdict = chain_->apply(update, base, facts, theta_, pool_);
  // The coordinator has counted versions already; the two must agree or staleness is a fiction.
  RUBATO_CHECK(verdict == (effect.moves_theta ? Verdict::kPass : Verdict::kHold),
               "chain and coordinator disagree on whether theta moves");
  if (effect.moves_theta) published_.reset();
}

// Block by block, members in order: each block is read while it is hot, and the bits do not depend
// on who sums it.
void ServerModel::sum_members(const Apply& effect, std::span<const Delta> deltas) {
  mean_.resize(theta_.size());
  const auto size = static_cast<int64_t>(theta_.size());
  const auto sum_block = [&](int64_t block) {
    const int64_t begin = block * kBlockFloats, count = std::min(kBlockFloats, size - begin);
    const std::span<float> out = std::span(mean_).subspan(begin, count);
    std::ranges::fill(out, 0.0f);
    for (size_t i = 0; i < deltas.size(); ++i) {
      add_scaled(static_cast<float>(effect.members[i].weight),
                 deltas[i].values.subspan(begin, count), out);
    }
  };
  const int64_t blocks = (size + kBlockFloats - 1) / kBlockFloats;
  if (pool_ != nullptr && blocks > 1) {
    pool_->for_each(blocks, sum_block);
  } else {
    flush_denormals();
    for (int64_t block = 0; block < blocks; ++block) sum_block(block);
  }
}

PublishedParams ServerModel::publish() {
  if (!published_) {
    auto copy = std::make_shared<std::vector<float>>(theta_);
    chain_->dispatch_point(*copy, pool_);
    published_ = std::move(copy);
  }
  return published_;
}

void ServerModel::set_theta(std::span<const float> theta) {
  RUBATO_CHECK(theta.size() == theta_.size());
  std::ranges::copy(theta, theta_.begin());
  published_.reset();
}

}  // namespace rubato

#include "rubato/server/server_model.h"

#include <algorithm>

namespace rubato {

ServerModel::ServerModel(std::vector<float> theta, std::unique_ptr<OuterChain> chain,
                         ThreadPool* pool, std::shared_ptr<const Codec> down)
    : theta_(std::move(theta)), chain_(std::move(chain)), pool_(pool), down_(std::move(down)) {}

void ServerModel::apply(const Apply& effect, std::span<const Delta> deltas) {
  RUBATO_CHECK(deltas.size() == effect.members.size() && !deltas.empty());
  UpdateFacts facts;
  facts.staleness = effect.staleness;
  facts.tokens = effect.tokens;
  facts.steps = effect.steps;
  facts.closes_group = effect.closes_group;
  facts.group_size = static_cast<int64_t>(deltas.size());

  std::vector<WeightedSum::Member> members;
  for (size_t i = 0; i < deltas.size(); ++i) {
    members.push_back({effect.members[i].weight, deltas[i].values});
  }
  const Verdict verdict = chain_->apply(members, deltas[0].base, facts, theta_, pool_);
  // The coordinator has counted versions already; the two must agree or staleness is a fiction.
  RUBATO_CHECK(verdict == (effect.moves_theta ? Verdict::kPass : Verdict::kHold),
               "chain and coordinator disagree on whether theta moves");
  if (effect.moves_theta) published_.reset();
}

PublishedParams ServerModel::publish() {
  if (!published_) {
    auto copy = std::make_shared<std::vector<float>>(theta_);
    chain_->dispatch_point(*copy, pool_);
    if (down_) round_trip(*down_, *copy, pool_);
    published_ = std::move(copy);
  }
  return published_;
}

PublishedParams ServerModel::share_theta() {
  const bool is_published = !needs().looks_ahead && (!down_ || down_->lossless());
  return is_published ? publish() : std::make_shared<const std::vector<float>>(theta_);
}

void ServerModel::set_theta(std::span<const float> theta) {
  RUBATO_CHECK(theta.size() == theta_.size());
  std::ranges::copy(theta, theta_.begin());
  published_.reset();
}

}  // namespace rubato

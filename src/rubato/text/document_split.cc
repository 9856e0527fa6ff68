#include "rubato/text/document_split.h"

#include <algorithm>
#include <cmath>

#include "rubato/base/rng.h"

namespace rubato {

namespace {

// Apart within RngStream::kSplit.
constexpr uint64_t kValidationDraw = 1, kDealDraw = 2;

uint64_t draw(uint64_t seed, uint64_t purpose, int64_t number, int64_t bound) {
  Rng rng(seed, RngStream::kSplit, mix_bits(purpose, static_cast<uint64_t>(number), 0));
  return rng.below(static_cast<uint64_t>(bound));
}

}  // namespace

ValidationSplit::ValidationSplit(uint64_t seed, double fraction, int64_t documents) : seed_(seed) {
  if (fraction <= 0 || documents < 2) return;
  const double block = std::max(2.0, std::round(1 / fraction));
  block_ = block < static_cast<double>(documents) ? static_cast<int64_t>(block) : documents;
}

bool ValidationSplit::is_validation(int64_t document) const {
  if (block_ == 0) return false;
  const auto drawn = draw(seed_, kValidationDraw, document / block_, block_);
  return static_cast<uint64_t>(document % block_) == drawn;
}

ShardDealer::ShardDealer(uint64_t seed, int64_t shards, int64_t mean_document_bytes)
    : seed_(seed), slack_(mean_document_bytes), bytes_(static_cast<size_t>(shards), 0) {}

int64_t ShardDealer::deal(int64_t document, int64_t text_bytes) {
  const int64_t smallest = *std::min_element(bytes_.begin(), bytes_.end());
  std::vector<size_t> open;
  for (size_t shard = 0; shard < bytes_.size(); ++shard) {
    if (bytes_[shard] <= smallest + slack_) open.push_back(shard);
  }
  const size_t shard = open[draw(seed_, kDealDraw, document, static_cast<int64_t>(open.size()))];
  bytes_[shard] += text_bytes;
  return static_cast<int64_t>(shard);
}

}  // namespace rubato

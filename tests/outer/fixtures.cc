#include "tests/outer/fixtures.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "rubato/base/rng.h"

namespace rubato::testing {

namespace {
void add_odd_tensors(Layout& layout) {
  layout.add("one", {1}, TensorRole::kBias);
  layout.add("below", {4095}, TensorRole::kNorm);
  layout.add("exact", {64, 64}, TensorRole::kMatrix);
  layout.add("above", {17, 241}, TensorRole::kEmbedding);
}
}  // namespace

Layout odd_layout() {
  Layout layout;
  add_odd_tensors(layout);
  return layout;
}

Layout wide_layout() {
  Layout layout;
  layout.add("wide", {256, 783}, TensorRole::kMatrix);
  add_odd_tensors(layout);
  return layout;
}

Layout flat_layout(int64_t size) {
  Layout layout;
  layout.add("flat", {size}, TensorRole::kMatrix);
  return layout;
}

Floats random_floats(int64_t size, uint64_t key, double scale) {
  Rng rng(7, RngStream::kTest, key);
  Floats values(static_cast<size_t>(size));
  for (float& value : values) value = static_cast<float>(scale * rng.normal());
  return values;
}

std::unique_ptr<OuterChain> make_chain(const Layout& layout, int64_t workers,
                                       std::vector<std::string> links, std::string rule,
                                       OptionMap options, EntryList entries) {
  auto chain = OuterChain::make({std::move(links), std::move(rule), std::move(options)}, layout,
                                {.num_workers = workers, .num_params = layout.size()}, entries);
  RUBATO_CHECK(chain.ok(), std::string(chain.status().message()));
  return std::move(chain).value();
}

StateImage state_of(OuterChain& chain) {
  StateImage image;
  StateSaver saver(image);
  chain.walk_state(saver);
  return image;
}

Verdict apply(OuterChain& chain, const Floats& delta, Floats& theta, int64_t staleness) {
  return chain.apply(PlainDelta(delta), {}, {.staleness = staleness}, theta, nullptr);
}

bool same_bits(const Floats& x, const Floats& y) {
  return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size() * sizeof(float)) == 0;
}

double relative_gap(const Floats& x, const std::vector<double>& y) {
  RUBATO_CHECK(x.size() == y.size());
  double largest = 1, gap = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    largest = std::max(largest, std::abs(y[i]));
    gap = std::max(gap, std::abs(static_cast<double>(x[i]) - y[i]));
  }
  return gap / largest;
}

}  // namespace rubato::testing

// What the tests of outer rules share: small layouts, seeded deltas, chains made in one line, and
// the state of a chain as bytes.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "rubato/outer/chain.h"

namespace rubato::testing {

using Floats = std::vector<float>;
using EntryList = std::span<const OuterEntry* const>;
using OptionMap = std::map<std::string, std::map<std::string, OptionValue>>;

/// Tensors of 1, 4095, 4096 and 4097 floats: every way a tensor can meet the block size.
Layout odd_layout();
/// The same with a matrix of 256 x 783 in front: enough blocks for several threads at once.
Layout wide_layout();
/// One tensor of `size` floats.
Layout flat_layout(int64_t size);

/// Normal values with standard deviation `scale`, from (kTest, key).
Floats random_floats(int64_t size, uint64_t key, double scale = 1);

/// A chain for `workers` workers; the test fails hard when it cannot be made.
std::unique_ptr<OuterChain> make_chain(const Layout& layout, int64_t workers,
                                       std::vector<std::string> links, std::string rule,
                                       OptionMap options = {}, EntryList entries = outer_entries());

StateImage state_of(OuterChain& chain);

/// One update without pool or base.
Verdict apply(OuterChain& chain, const Floats& delta, Floats& theta, int64_t staleness = 0);

/// The same bytes, so that -0 and NaN count too.
bool same_bits(const Floats& x, const Floats& y);

/// |x - y|_inf / max(1, |x|_inf).
double relative_gap(const Floats& x, const std::vector<double>& y);

}  // namespace rubato::testing

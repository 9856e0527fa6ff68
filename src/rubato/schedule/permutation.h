// The seeded order of a shard's sequences: a bijection of [0, size) computed on the fly, so that a
// task names its data by a range of positions and nobody stores the order. Four-round Feistel
// network with cycle walking (Black and Rogaway 2002, "Ciphers with arbitrary finite domains").
#pragma once

#include <cstdint>

#include "rubato/base/ids.h"

namespace rubato {

/// The physical sequence at `position` of the shard's order in `epoch`; position in [0, size), size
/// >= 1.
int64_t permuted_index(uint64_t seed, ShardId shard, int64_t epoch, int64_t position, int64_t size);

}  // namespace rubato

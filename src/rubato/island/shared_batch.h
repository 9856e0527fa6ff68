// How an island shares one batch, and adds up what its ranks make of their parts.
//
//   part of rank r = sequences [ceil(B r / n), ceil(B (r + 1) / n))
//   sum            = ((g0 + g1) + (g2 + g3)) + ..    neighbours, then neighbours of neighbours
//
// This is how the engine cuts a batch into lanes and adds them (lm/engine.h). So an island of n
// ranks with L lanes each makes the bits of one process with n L lanes when n L divides B and L is
// a power of two; otherwise it differs by the rounding of another order of the sum.
#pragma once

#include <cstdint>
#include <span>

#include "rubato/island/island_link.h"
#include "rubato/trainer/trainer.h"

namespace rubato {

struct BatchPart {
  int64_t begin, end;  // [sequences]
};

/// The part of `rank` in a batch of `sequences` >= `ranks`: whole sequences, as evenly as they
/// allow, never none.
BatchPart batch_part(int64_t sequences, int rank, int ranks);

/// Adds `gradient` [P], `result.loss` and `result.tokens` of all ranks; all call it. Rank 0 ends up
/// with the sums, the others with some of them.
void sum_parts(IslandLink& link, std::span<float> gradient, StepResult& result);

}  // namespace rubato

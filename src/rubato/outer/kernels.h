// Pieces that several rules share. Scalars are computed in double once per update and rounded to
// float once per block, so that every element sees the same factor.
#pragma once

#include <cstdint>

#include "rubato/outer/outer_rule.h"

namespace rubato {

/// g *= factor over n floats; a factor of 1 leaves every bit.
void scale_block(float* g, int64_t n, float factor);

/// round(per_worker * k), at least 1: how buffers and delayed momentum count their N.
int64_t arrivals_of_period(double per_worker, const OuterContext& context);

/// The options that every terminal rule with momentum shares: lr and beta.
OptionSpec lr_option(double default_value);
OptionSpec beta_option(double default_value);

}  // namespace rubato

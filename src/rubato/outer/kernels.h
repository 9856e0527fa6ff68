// Pieces that several rules share. Scalars are computed in double once per update and rounded to
// float once per block, so that every element sees the same factor.
#pragma once

#include <cstdint>

#include "rubato/outer/outer_rule.h"

namespace rubato {

/// g *= factor over n floats; a factor of 1 leaves every bit.
void scale_block(float* g, int64_t n, float factor);

/// An optional N >= 1 in arrivals, and its value: k when the recipe does not give one.
OptionSpec arrivals_option(std::string name, std::string meaning);
int64_t arrivals_or_workers(const Options& options, std::string_view name,
                            const OuterContext& context);

/// The options that every terminal rule with momentum shares: lr and beta.
OptionSpec lr_option(double default_value);
OptionSpec beta_option(double default_value);

}  // namespace rubato

// Pieces that several rules share. Scalars are computed in double once per update and rounded to
// float once per block, so that every element sees the same factor.
#pragma once

#include <cstdint>

#include "rubato/outer/outer_rule.h"

namespace rubato {

/// In front of an elementwise loop that may write where it reads: index i depends on no other
/// index, so the compiler may vectorise it although it cannot tell the arrays apart.
#if defined(__clang__)
#define RUBATO_INDEPENDENT_LOOP _Pragma("clang loop vectorize(assume_safety)")
#else
#define RUBATO_INDEPENDENT_LOOP _Pragma("GCC ivdep")
#endif

/// What a link that only scales does: block.g becomes factor * g, in scratch; a factor of 1 leaves
/// every bit where it is.
void scale_block(Block& block, float factor);

/// An optional N >= 1 in arrivals, and its value: k when the recipe does not give one.
OptionSpec arrivals_option(std::string name, std::string meaning);
int64_t arrivals_or_workers(const Options& options, std::string_view name,
                            const OuterContext& context);

/// The options that every terminal rule with momentum shares: lr and beta.
OptionSpec lr_option(double default_value);
OptionSpec beta_option(double default_value);

}  // namespace rubato

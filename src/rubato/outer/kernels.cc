#include "rubato/outer/kernels.h"

#include "rubato/base/multiversion.h"

namespace rubato {

namespace {

RUBATO_MULTIVERSION void scale(float* out, const float* g, int64_t n, float factor) {
  RUBATO_INDEPENDENT_LOOP
  for (int64_t i = 0; i < n; ++i) out[i] = factor * g[i];
}

}  // namespace

void scale_block(Block& block, float factor) {
  if (factor == 1) return;
  scale(block.scratch, block.g, block.size, factor);
  block.g = block.scratch;
}

OptionSpec arrivals_option(std::string name, std::string meaning) {
  return optional(integer_option(std::move(name), 1, 1, 4096, "arrivals", std::move(meaning)));
}

int64_t arrivals_or_workers(const Options& options, std::string_view name,
                            const OuterContext& context) {
  return options.has(name) ? options.integer(name) : context.num_workers;
}

OptionSpec lr_option(double default_value) {
  return real_option("lr", default_value, 0, 100, "1", "outer step: what theta moves per unit");
}

OptionSpec beta_option(double default_value) {
  return real_option("beta", default_value, 0, 0.9999, "1", "momentum kept from step to step");
}

}  // namespace rubato

#include "rubato/outer/kernels.h"

#include "rubato/base/multiversion.h"

namespace rubato {

RUBATO_MULTIVERSION void scale_block(float* g, int64_t n, float factor) {
  for (int64_t i = 0; i < n; ++i) g[i] *= factor;
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

#include "rubato/outer/kernels.h"

#include <algorithm>
#include <cmath>

#include "rubato/base/multiversion.h"

namespace rubato {

RUBATO_MULTIVERSION void scale_block(float* g, int64_t n, float factor) {
  for (int64_t i = 0; i < n; ++i) g[i] *= factor;
}

int64_t arrivals_of_period(double per_worker, const OuterContext& context) {
  const double arrivals = per_worker * static_cast<double>(context.num_workers);
  return std::max<int64_t>(1, std::llround(arrivals));
}

OptionSpec lr_option(double default_value) {
  return real_option("lr", default_value, 0, 100, "1", "outer step: what theta moves per unit");
}

OptionSpec beta_option(double default_value) {
  return real_option("beta", default_value, 0, 0.9999, "1", "momentum kept from step to step");
}

}  // namespace rubato

// SGD, plain or with heavy-ball momentum.
//   momentum 0:  theta = theta*(1 - lr*wd) - lr*g
//   otherwise:   m = momentum*m + g;   theta = theta*(1 - lr*wd) - lr*m
// The decay is decoupled as in AdamW (without momentum this is the L2 penalty) and spares norms and
// biases. Source: Polyak 1964; the form without dampening of ALGORITHMS.md 2.
// State: 0 without momentum, else 1 P (m). tests/trainer/sgd_test.cc holds the formula.
#include "rubato/base/multiversion.h"
#include "rubato/base/status.h"
#include "rubato/trainer/inner_optimizer.h"

namespace rubato {
namespace {

std::vector<OptionSpec> option_table() {
  return {
      real_option("momentum", 0, 0, 0.999999, "1", "heavy-ball momentum; 0: none, no state"),
      real_option("weight_decay", 0, 0, 10, "1",
                  "decoupled decay of matrices and embeddings, times the rate"),
      real_option("clip_norm", 0, 0, 1e9, "1",
                  "norm the whole gradient is clipped to; 0: never clipped"),
  };
}

RUBATO_MULTIVERSION
void plain_range(int64_t size, float keep, float scale, float lr, const float* __restrict gradient,
                 float* __restrict theta) {
  for (int64_t i = 0; i < size; ++i) theta[i] = keep * theta[i] - lr * (scale * gradient[i]);
}

RUBATO_MULTIVERSION
void momentum_range(int64_t size, float keep, float scale, float lr, float momentum,
                    const float* __restrict gradient, float* __restrict m,
                    float* __restrict theta) {
  for (int64_t i = 0; i < size; ++i) {
    m[i] = momentum * m[i] + scale * gradient[i];
    theta[i] = keep * theta[i] - lr * m[i];
  }
}

class Sgd final : public InnerOptimizer {
 public:
  explicit Sgd(const Options& options)
      : momentum_(options.real("momentum")),
        weight_decay_(options.real("weight_decay")),
        clip_norm_(options.real("clip_norm")) {}

  int64_t num_planes() const override { return momentum_ > 0 ? 1 : 0; }
  double clip_norm() const override { return clip_norm_; }

  void update_range(TensorRole role, int64_t offset, std::span<const float> gradient, float scale,
                    double lr, InnerState& state, std::span<float> params) const override {
    RUBATO_CHECK(static_cast<int64_t>(state.planes.size()) == num_planes());
    const int64_t size = static_cast<int64_t>(gradient.size());
    const float keep = static_cast<float>(1 - lr * (is_decayed(role) ? weight_decay_ : 0.0));
    const float rate = static_cast<float>(lr);
    float* theta = params.data() + offset;
    if (momentum_ > 0) {
      momentum_range(size, keep, scale, rate, static_cast<float>(momentum_), gradient.data(),
                     state.planes[0].data() + offset, theta);
    } else {
      plain_range(size, keep, scale, rate, gradient.data(), theta);
    }
  }

 private:
  double momentum_, weight_decay_, clip_norm_;
};

}  // namespace

const InnerEntry& sgd_entry() {
  static const InnerEntry entry{
      {"sgd", "stochastic gradient descent, with heavy-ball momentum if wanted",
       "m = momentum*m + g; theta = theta*(1 - lr*wd) - lr*m", "Polyak 1964", option_table()},
      [](const Options& options) -> StatusOr<std::unique_ptr<InnerOptimizer>> {
        return std::make_unique<Sgd>(options);
      }};
  return entry;
}

}  // namespace rubato

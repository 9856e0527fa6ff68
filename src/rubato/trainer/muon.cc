// Muon: momentum whose matrices are orthogonalised before they are applied; what is no matrix of a
// layer (embedding, head, norms, biases) goes by AdamW. For a matrix (r, c):
//   m = momentum*m + g                        u = g + momentum*m  (Nesterov)  or  m
//   O = newton_schulz(u / |u|_F), `iterations` times  X = a*X + (b*A + c*A*A)*X  with  A = X*X^T
//   theta = theta*(1 - lr*wd) - lr * 0.2*sqrt(max(r, c)) * O
// A tall X goes from the other side, X = X*(a + b*A + c*A*A) with A = X^T*X, so that A has min(r,
// c) rows. The last factor gives the update the root mean square of AdamW's, so that one rate
// serves both. Sources: K. Jordan, Muon, 2024 (iteration, coefficients, Nesterov); Liu et al.,
// arXiv:2502.16982, eq. 4 (the factor and the decay). State: 2 P (m, and AdamW's v, which stays
// zero for matrices). tests/trainer/muon_test.cc holds it against the formula in double.
#include <algorithm>
#include <cmath>
#include <utility>

#include "rubato/base/flat_ops.h"
#include "rubato/base/multiversion.h"
#include "rubato/base/status.h"
#include "rubato/trainer/adamw.h"

namespace rubato {
namespace {

constexpr float kA = 3.4445F, kB = -4.7750F, kC = 2.0315F;
constexpr double kRootMeanSquare = 0.2;  // of AdamW's updates in practice, by arXiv:2502.16982
constexpr double kTiny = 1e-30;          // instead of the norm of a gradient that is zero

std::vector<OptionSpec> option_table() {
  return {
      real_option("momentum", 0.95, 0, 0.999999, "1", "of the matrices"),
      flag_option("nesterov", true, "look ahead along the momentum"),
      integer_option("iterations", 5, 1, 100, "iterations", "of Newton-Schulz"),
      real_option("beta1", 0.9, 0, 0.999999, "1", "of AdamW for the rest"),
      real_option("beta2", 0.95, 0, 0.999999, "1", "of AdamW for the rest"),
      real_option("eps", 1e-8, 1e-30, 1, "1", "of AdamW for the rest"),
      real_option("weight_decay", 0.1, 0, 10, "1",
                  "decoupled decay of matrices and embeddings, times the rate"),
      real_option("clip_norm", 1.0, 0, 1e9, "1",
                  "norm the whole gradient is clipped to; 0: never clipped"),
  };
}

// m = momentum*m + scale*g; u = what is orthogonalised.
RUBATO_MULTIVERSION
void muon_momentum(int64_t size, float momentum, float scale, float ahead,
                   const float* __restrict gradient, float* __restrict m, float* __restrict u) {
  for (int64_t i = 0; i < size; ++i) {
    const float g = scale * gradient[i];
    m[i] = momentum * m[i] + g;
    u[i] = ahead > 0 ? g + ahead * m[i] : m[i];
  }
}

RUBATO_MULTIVERSION
void muon_scale(int64_t size, float factor, float* __restrict x) {
  for (int64_t i = 0; i < size; ++i) x[i] *= factor;
}

// square = b*A + c*A*A, from A and A*A; the identity's share is added by the caller.
RUBATO_MULTIVERSION
void muon_polynomial(int64_t size, const float* __restrict a, float* __restrict square) {
  for (int64_t i = 0; i < size; ++i) square[i] = kB * a[i] + kC * square[i];
}

RUBATO_MULTIVERSION
void muon_apply(int64_t size, float keep, float rate, const float* __restrict o,
                float* __restrict theta) {
  for (int64_t i = 0; i < size; ++i) theta[i] = keep * theta[i] - rate * o[i];
}

struct MatrixShape {
  int64_t rows, cols;
  int64_t less() const { return std::min(rows, cols); }
  int64_t more() const { return std::max(rows, cols); }
  int64_t size() const { return rows * cols; }
};

MatrixShape shape_of(const TensorSpec& tensor) { return {tensor.shape[0], tensor.shape[1]}; }

class Muon final : public InnerOptimizer {
 public:
  explicit Muon(const Options& options)
      : rates_{options.real("beta1"), options.real("beta2"), options.real("eps")},
        momentum_(options.real("momentum")),
        nesterov_(options.flag("nesterov")),
        iterations_(options.integer("iterations")),
        weight_decay_(options.real("weight_decay")),
        clip_norm_(options.real("clip_norm")) {}

  int64_t num_planes() const override { return 2; }
  double clip_norm() const override { return clip_norm_; }
  bool takes_whole(const TensorSpec& tensor) const override {
    return tensor.role == TensorRole::kMatrix && tensor.shape.size() == 2;
  }

  // u and its successor, twice the square.
  int64_t scratch_floats(const Layout& layout) const override {
    int64_t most = 0;
    for (const TensorSpec& tensor : layout.tensors()) {
      if (!takes_whole(tensor)) continue;
      const MatrixShape shape = shape_of(tensor);
      most = std::max(most, 2 * shape.size() + 2 * shape.less() * shape.less());
    }
    return most;
  }

  void update_range(TensorRole role, int64_t offset, std::span<const float> gradient, float scale,
                    double lr, InnerState& state, std::span<float> params) const override {
    adamw_update(rates_, is_decayed(role) ? weight_decay_ : 0.0, offset, gradient, scale, lr, state,
                 params);
  }

  void update_whole(const TensorSpec& tensor, std::span<const float> gradient, float scale,
                    double lr, InnerState& state, std::span<float> params,
                    const InnerWorkspace& workspace) const override {
    const MatrixShape shape = shape_of(tensor);
    RUBATO_CHECK(state.planes.size() == 2 && workspace.products.plain != nullptr &&
                 static_cast<int64_t>(workspace.scratch.size()) >=
                     2 * shape.size() + 2 * shape.less() * shape.less());
    float* u = workspace.scratch.data();
    const float momentum = static_cast<float>(momentum_);
    muon_momentum(shape.size(), momentum, scale, nesterov_ ? momentum : 0.0F, gradient.data(),
                  state.planes[0].data() + tensor.offset, u);
    const float* o = orthogonalise(shape, u, workspace.products);
    const double root_mean_square = kRootMeanSquare * std::sqrt(static_cast<double>(shape.more()));
    muon_apply(shape.size(), static_cast<float>(1 - lr * weight_decay_),
               static_cast<float>(lr * root_mean_square), o, params.data() + tensor.offset);
  }

 private:
  // Of u (r, c), with the rest of the scratch memory behind it; the result lies there too.
  const float* orthogonalise(MatrixShape shape, float* u, const MatrixProducts& products) const {
    const int64_t n = shape.less(), square = n * n;
    const bool tall = shape.rows > shape.cols;
    float *x = u, *next = u + shape.size(), *a = next + shape.size(), *polynomial = a + square;
    const double norm = l2_norm({u, static_cast<size_t>(shape.size())});
    muon_scale(shape.size(), static_cast<float>(1 / std::max(norm, kTiny)), u);
    for (int64_t i = 0; i < iterations_; ++i) {
      const auto gram = tall ? products.first_transposed : products.second_transposed;
      gram(n, n, shape.more(), x, x, 0.0F, a);
      products.plain(n, n, n, a, a, 0.0F, polynomial);
      muon_polynomial(square, a, polynomial);
      for (int64_t d = 0; d < n; ++d) polynomial[d * n + d] += kA;
      if (tall) {
        products.plain(shape.rows, n, n, x, polynomial, 0.0F, next);
      } else {
        products.plain(n, shape.cols, n, polynomial, x, 0.0F, next);
      }
      std::swap(x, next);
    }
    return x;
  }

  AdamRates rates_;
  double momentum_;
  bool nesterov_;
  int64_t iterations_;
  double weight_decay_, clip_norm_;
};

}  // namespace

const InnerEntry& muon_entry() {
  static const InnerEntry entry{
      {"muon", "momentum with orthogonalised matrices, AdamW for the rest",
       "m = b*m + g; O = newton_schulz(g + b*m); theta = theta*(1 - lr*wd) - lr*0.2*sqrt(max(r, "
       "c))*O",
       "K. Jordan, Muon, 2024; arXiv:2502.16982, eq. 4", option_table()},
      [](const Options& options) -> StatusOr<std::unique_ptr<InnerOptimizer>> {
        return std::make_unique<Muon>(options);
      }};
  return entry;
}

}  // namespace rubato

// Helpers of the tests of inner optimizers.
#pragma once

#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "rubato/base/rng.h"
#include "rubato/trainer/inner_optimizer.h"

namespace rubato {

inline StatusOr<std::unique_ptr<InnerOptimizer>> try_inner(
    const std::string& name, const std::map<std::string, OptionValue>& given) {
  RUBATO_ASSIGN_OR_RETURN(const InnerEntry* entry,
                          find_entry("test", "inner optimizer", inner_entries(), name));
  RUBATO_ASSIGN_OR_RETURN(const Options options, Options::resolve(name, entry->options, given));
  return entry->make(options);
}

/// Aborts the test program when the options are refused.
inline std::unique_ptr<InnerOptimizer> make_inner(const std::string& name,
                                                  const std::map<std::string, OptionValue>& given) {
  auto made = try_inner(name, given);
  RUBATO_CHECK(made.ok(), made.status().message());
  return std::move(made).value();
}

/// A tensor of each role with `each` floats: matrix, embedding, norm, bias.
inline Layout four_roles(int64_t each) {
  Layout layout;
  layout.add("matrix", {each / 2, 2}, TensorRole::kMatrix);
  layout.add("embedding", {each}, TensorRole::kEmbedding);
  layout.add("norm", {each}, TensorRole::kNorm);
  layout.add("bias", {each}, TensorRole::kBias);
  return layout;
}

inline std::vector<float> normals(int64_t size, uint64_t key) {
  Rng rng(7, RngStream::kTest, key);
  std::vector<float> values(size);
  for (float& value : values) value = static_cast<float>(rng.normal());
  return values;
}

/// C = A * B by the definition, summed in double; either factor may come as its transpose.
template <bool kFirstTransposed, bool kSecondTransposed>
void naive_product(int64_t m, int64_t n, int64_t k, const float* a, const float* b, float beta,
                   float* c) {
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (int64_t l = 0; l < k; ++l) {
        sum += double{kFirstTransposed ? a[l * m + i] : a[i * k + l]} *
               double{kSecondTransposed ? b[j * k + l] : b[l * n + j]};
      }
      c[i * n + j] = static_cast<float>(sum) + (beta == 0 ? 0.0F : beta * c[i * n + j]);
    }
  }
}

/// A workspace of one thread with memory of its own.
class OwnWorkspace {
 public:
  OwnWorkspace(const InnerOptimizer& optimizer, const Layout& layout)
      : scratch_(optimizer.scratch_floats(layout), std::nanf("")) {}
  InnerWorkspace lent() {
    return {scratch_,
            {naive_product<false, true>, naive_product<true, false>, naive_product<false, false>}};
  }

 private:
  std::vector<float> scratch_;
};

}  // namespace rubato

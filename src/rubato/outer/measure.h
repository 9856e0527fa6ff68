// What stages want to know of a delta before they plan: its norm, and tensor by tensor how it lies
// to the rule's momentum. Measured in one more pass over memory, and only when a stage asks. Sums
// run in double over fixed pieces added in order, so threads and block sizes change no bit.
#pragma once

#include <span>
#include <vector>

#include "rubato/outer/delta_source.h"
#include "rubato/outer/outer_rule.h"
#include "rubato/outer/pieces.h"

namespace rubato {

class DeltaMeasure {
 public:
  /// For deltas cut in `pieces`. Memory: a double or three per piece of what `needs` asks for.
  DeltaMeasure(const Pieces& pieces, const StageNeeds& needs);

  /// Fills in what `needs` asked for; facts.tensors points into this object. `momentum` [P] is the
  /// rule's, empty unless needs.momentum; `pieces` are the constructor's. Allocates nothing.
  void measure(const Pieces& pieces, const DeltaSource& delta, std::span<const float> momentum,
               ThreadPool* pool, UpdateFacts& facts);

 private:
  struct Products {  // of a piece or a tensor
    double gg = 0, gm = 0, mm = 0;
  };
  static Products products_of(const float* g, const float* m, int64_t n);
  double norm_of(const Pieces& pieces, const DeltaSource& delta, ThreadPool* pool);
  void measure_tensors(const Pieces& pieces, const DeltaSource& delta,
                       std::span<const float> momentum, ThreadPool* pool);

  std::vector<double> square_sums_;  // by piece
  std::vector<Products> products_;   // by piece
  std::vector<TensorStats> tensors_;
};

/// sum x*x in double; the same bits from every processor.
double square_sum(const float* x, int64_t n);

}  // namespace rubato

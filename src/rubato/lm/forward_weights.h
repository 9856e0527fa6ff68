// The weights as the forward pass multiplies by them: transposed, (in, out), made again from the
// parameters before each pass. GEMM packs a weight for every product anyway; from rows along `out`
// that is several times faster, so transposing once for all microbatches of a step pays from a few
// hundred rows on (docs/engine.md). The backward pass reads the parameters as they are.
#pragma once

#include <cstdint>
#include <vector>

#include "rubato/lm/arena.h"
#include "rubato/lm/model_config.h"
#include "rubato/lm/model_offsets.h"

namespace rubato {

/// Vocabulary entries of one tile of the head: with 256 rows a tile of logits is half a MiB and
/// stays in the second-level cache between the product that writes it and the pass that takes its
/// exponentials.
inline constexpr int64_t kTileColumns = 512;

class ForwardWeights {
 public:
  struct Layer {
    float* qkv;      // (D, C)
    float* out;      // (H*E, D)
    float* gate_up;  // (D, 2F)
    float* down;     // (F, D)
  };

  /// Takes memory for all of them from `carver`. `offsets` outlives the weights.
  ForwardWeights(const ModelConfig& config, const ModelOffsets& offsets, Carver& carver);

  /// The work of make(), cut small enough for threads to share.
  int64_t num_pieces() const { return static_cast<int64_t>(pieces_.size()); }
  void make(const float* params, int64_t piece) const;

  const Layer& layer(int64_t index) const { return layers_[index]; }
  /// (D, n): the head of vocabulary entries [begin, begin + n), for a `begin` that starts a tile.
  const float* head(int64_t begin) const { return head_ + begin * width_; }

 private:
  struct Piece {  // rows of a weight, which become columns
    int64_t from;
    int64_t rows, cols;
    float* to;
    int64_t to_stride;
  };
  float* add(int64_t from, int64_t rows, int64_t cols, Carver& carver);
  void cut(int64_t from, int64_t rows, int64_t cols, float* to);

  int64_t width_;
  std::vector<Layer> layers_;
  float* head_;
  std::vector<Piece> pieces_;
};

}  // namespace rubato

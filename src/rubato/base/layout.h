// The layout of a model's flat parameter buffer: named tensors, one after another, without gaps.
// Logical tensors only; padding is nobody's business outside the engine.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace rubato {

/// What a tensor is for; decides weight decay and what orthogonalises. kEmbedding: one row a piece
/// of the vocabulary, be it the input's or the head's.
enum class TensorRole { kMatrix, kEmbedding, kNorm, kBias };

struct TensorSpec {
  std::string name;            // as in the Hugging Face layout of the model
  std::vector<int64_t> shape;  // outermost first, row-major
  TensorRole role = TensorRole::kMatrix;
  int64_t offset = 0;  // [floats] from the start of the buffer
  int64_t size = 0;    // [floats]
};

class Layout {
 public:
  /// Appends a tensor behind the last one.
  void add(std::string name, std::vector<int64_t> shape, TensorRole role);

  const std::vector<TensorSpec>& tensors() const { return tensors_; }
  /// P: floats in all.
  int64_t size() const { return size_; }
  /// The tensor of that name, or nullptr.
  const TensorSpec* find(const std::string& name) const;
  /// One line a tensor, `name [shape]`; its digest tells two models apart.
  std::string describe() const;

 private:
  std::vector<TensorSpec> tensors_;
  int64_t size_ = 0;
};

}  // namespace rubato

// bf16 x bf16 -> fp32 through oneDNN's matmul primitive, whose public call for plain GEMM knows
// fp32 only. A primitive is made once per shape and kept. Row-major; A and B are dense.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace rubato {

class Bf16Gemm {
 public:
  struct Shape {
    int64_t m, n, k;
    int64_t ldc;
    bool a_transposed;  // A is (k, m)
    bool add;           // to C, which is overwritten otherwise
    friend bool operator==(const Shape&, const Shape&) = default;
  };

  /// Whether oneDNN has instructions for it on this processor.
  static bool has_instructions();

  Bf16Gemm();
  ~Bf16Gemm();

  /// C (m, n) = A * B (k, n), or that added to C. Hold a SingleThreadedGemm (lm/gemm.h) around it.
  /// One thread at a time, not always the same one.
  void multiply(const Shape& shape, const uint16_t* a, const uint16_t* b, float* c);

 private:
  struct Library;    // oneDNN's engine and stream
  struct Primitive;  // of one shape
  Primitive& primitive(const Shape& shape);

  std::unique_ptr<Library> library_;  // made by the first product
  std::vector<Primitive> primitives_;
  std::vector<std::byte> scratch_;  // the largest that any of them wants
};

}  // namespace rubato

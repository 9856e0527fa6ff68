#include "rubato/lm/bf16_gemm.h"

#include <dnnl.hpp>

#include "rubato/base/status.h"

namespace rubato {
namespace {

using Type = dnnl::memory::data_type;

dnnl::memory::desc matrix(int64_t rows, int64_t cols, Type type, int64_t row_stride,
                          int64_t col_stride) {
  return {{rows, cols}, type, dnnl::memory::dims{row_stride, col_stride}};
}

dnnl::matmul::primitive_desc describe(const Bf16Gemm::Shape& s, const dnnl::engine& engine) {
  dnnl::primitive_attr attributes;
  // The library's own scratchpad belongs to the thread that made the primitive; others run it too.
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (s.add) {
    dnnl::post_ops add;
    add.append_sum(1.0f);
    attributes.set_post_ops(add);
  }
  const auto a =
      s.a_transposed ? matrix(s.m, s.k, Type::bf16, 1, s.m) : matrix(s.m, s.k, Type::bf16, s.k, 1);
  return {{a, matrix(s.k, s.n, Type::bf16, s.n, 1), matrix(s.m, s.n, Type::f32, s.ldc, 1)},
          attributes,
          engine};
}

}  // namespace

struct Bf16Gemm::Library {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
};

struct Bf16Gemm::Primitive {
  Shape shape;
  dnnl::matmul::primitive_desc description;
  dnnl::matmul matmul{description};
  dnnl::memory a{description.src_desc(), description.get_engine(), DNNL_MEMORY_NONE};
  dnnl::memory b{description.weights_desc(), description.get_engine(), DNNL_MEMORY_NONE};
  dnnl::memory c{description.dst_desc(), description.get_engine(), DNNL_MEMORY_NONE};
  dnnl::memory scratch{description.scratchpad_desc(), description.get_engine(), DNNL_MEMORY_NONE};
};

bool Bf16Gemm::has_instructions() {
  constexpr int kWanted = dnnl_cpu_isa_avx512_core_bf16;  // AMX includes its bits
  return (static_cast<int>(dnnl_get_effective_cpu_isa()) & kWanted) == kWanted;
}

Bf16Gemm::Bf16Gemm() = default;
Bf16Gemm::~Bf16Gemm() = default;

Bf16Gemm::Primitive& Bf16Gemm::primitive(const Shape& shape) {
  // A step knows a dozen or two.
  for (Primitive& known : primitives_) {
    if (known.shape == shape) return known;
  }
  if (library_ == nullptr) library_ = std::make_unique<Library>();
  primitives_.push_back({.shape = shape, .description = describe(shape, library_->engine)});
  const size_t wanted = primitives_.back().description.scratchpad_desc().get_size();
  if (wanted > scratch_.size()) scratch_.resize(wanted);
  return primitives_.back();
}

void Bf16Gemm::multiply(const Shape& shape, const uint16_t* a, const uint16_t* b, float* c) try {
  if (shape.m == 0 || shape.n == 0) return;
  Primitive& p = primitive(shape);
  p.a.set_data_handle(const_cast<uint16_t*>(a));
  p.b.set_data_handle(const_cast<uint16_t*>(b));
  p.c.set_data_handle(c);
  p.scratch.set_data_handle(scratch_.data());
  // The call in C: the one in C++ takes a map, made anew each time.
  const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, p.a.get()},
                                       {DNNL_ARG_WEIGHTS, p.b.get()},
                                       {DNNL_ARG_DST, p.c.get()},
                                       {DNNL_ARG_SCRATCHPAD, p.scratch.get()}};
  const dnnl_status_t status =
      dnnl_primitive_execute(p.matmul.get(), library_->stream.get(), 4, arguments);
  RUBATO_CHECK(status == dnnl_success, "[bf16 gemm] oneDNN refused to multiply, with status ",
               static_cast<int>(status));
} catch (const dnnl::error& error) {
  RUBATO_CHECK(false, "[bf16 gemm] oneDNN refused ", shape.m, " x ", shape.n, " x ", shape.k, ": ",
               error.what());
}

}  // namespace rubato

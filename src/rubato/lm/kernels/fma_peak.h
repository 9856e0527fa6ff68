// The limit that everything is measured against: fused multiply-adds on registers alone.
#pragma once

#include <cstdint>

namespace rubato::kernels {

/// Runs `rounds` rounds of independent multiply-adds on the calling thread, with the widest vectors
/// there are, and returns the floating-point operations done (two a multiply-add and lane).
double run_fma_loop(int64_t rounds);

}  // namespace rubato::kernels

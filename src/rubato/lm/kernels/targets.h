// Which instruction sets the kernels are compiled for: AVX-512, AVX2 and a portable one, chosen at
// run time by Google Highway. Included before hwy/highway.h by every kernel source. A wider list
// costs compile time and buys machines nobody trains on.
#pragma once

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)

// RUBATO_MULTIVERSION in front of a free function makes the compiler emit it for AVX-512, AVX2 and
// the baseline; the loader picks the best one the processor has. So hot elementwise loops are wide
// without flags for the whole program. The bits are the same in all of them: contraction is off
// (cmake/flags.cmake), and division and square root are correctly rounded at every width. Loops
// with sums are another matter: they need a fixed order of their own. Clang gives the choice of a
// function external linkage even in an unnamed namespace: no two may share name and parameters.
//
// Off under sanitizers, whose runtime is not up yet when the loader resolves the choice, and on
// other processors.
#pragma once

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define RUBATO_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define RUBATO_SANITIZED 1
#endif
#endif

#if defined(__x86_64__) && defined(__linux__) && !defined(RUBATO_SANITIZED) && \
    (!defined(__clang__) || __clang_major__ >= 14)
#define RUBATO_MULTIVERSION __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define RUBATO_MULTIVERSION
#endif

#include "rubato/base/float_env.h"

#if defined(__SSE__)
#include <xmmintrin.h>
#elif defined(__aarch64__)
#include <cstdint>
#endif

namespace rubato {

#if defined(__SSE__)
namespace {
constexpr unsigned kFlushResults = 0x8000, kFlushOperands = 0x0040;  // MXCSR bits FTZ and DAZ
}
void flush_denormals() { _mm_setcsr(_mm_getcsr() | kFlushResults | kFlushOperands); }
bool denormals_are_flushed() {
  return (_mm_getcsr() & (kFlushResults | kFlushOperands)) == (kFlushResults | kFlushOperands);
}
#elif defined(__aarch64__)
namespace {
constexpr uint64_t kFlushBit = uint64_t{1} << 24;  // FPCR.FZ covers operands and results
uint64_t read_fpcr() {
  uint64_t value = 0;
  asm volatile("mrs %0, fpcr" : "=r"(value));
  return value;
}
}  // namespace
void flush_denormals() { asm volatile("msr fpcr, %0" : : "r"(read_fpcr() | kFlushBit)); }
bool denormals_are_flushed() { return (read_fpcr() & kFlushBit) != 0; }
#else
#error "flush_denormals() has no version for this processor yet"
#endif

}  // namespace rubato

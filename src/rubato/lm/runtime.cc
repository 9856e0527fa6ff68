#include "rubato/lm/runtime.h"

#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include "rubato/base/float_env.h"

namespace rubato {

void prepare_process() {
#if defined(__GLIBC__)
  // The largest that glibc takes for the first; larger than any packing buffer for both.
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 256 << 20);
  mallopt(M_TOP_PAD, 16 << 20);
#endif
  flush_denormals();
}

}  // namespace rubato

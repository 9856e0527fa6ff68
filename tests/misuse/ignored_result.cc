// Must not compile where warnings are errors: a result that may be an error, ignored.
// expect: ignoring return.* .*nodiscard
#include "rubato/base/status.h"

namespace rubato {

StatusOr<int64_t> may_fail() { return 1; }
void misuse() { may_fail(); }

}  // namespace rubato

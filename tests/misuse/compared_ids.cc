// Must not compile: ids of different meaning compared.
// expect: no match for .operator==.|invalid operands to binary expression
#include "rubato/base/ids.h"

namespace rubato {

bool misuse() { return WorkerId(3) == TaskId(3); }

}  // namespace rubato

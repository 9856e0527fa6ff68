// Must not compile: a task's id where a worker's is wanted.
// expect: no match for .operator=.|no viable overloaded .=.
#include "rubato/base/ids.h"
#include "rubato/coordinator/events.h"

namespace rubato {

void misuse(UpdateArrived& update) { update.worker = TaskId(3); }

}  // namespace rubato

// Must not compile: a bare number where a task's id is wanted; which id it is has to be said.
// expect: could not convert .* from .int. to .*TaskId|no matching function .*of_task
#include "rubato/base/ids.h"

namespace rubato {

int64_t of_task(TaskId task) { return task.value(); }
int64_t misuse() { return of_task(3); }

}  // namespace rubato

#include "rubato/base/status.h"

#include <cstdio>
#include <cstdlib>

namespace rubato {

Status annotate(const Status& status, std::string_view context) {
  if (status.ok()) return status;
  return Status(status.code(), cat(context, ": ", status.message()));
}

void check_failed(const char* file, int line, const char* condition, std::string_view message) {
  std::fprintf(stderr, "%s:%d: CHECK failed: %s %.*s\n", file, line, condition,
               static_cast<int>(message.size()), message.data());
  std::abort();
}

}  // namespace rubato

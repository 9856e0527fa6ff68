// Errors. An operating error is a Status that says `[who] got X, want Y; hint`; a programmer's
// error aborts through RUBATO_CHECK. Libraries never print, exit or read the environment.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "rubato/base/text.h"

namespace rubato {

using absl::Status;
using absl::StatusOr;

/// The same error with `context: ` in front, for crossing a layer; OK stays OK.
Status annotate(const Status& status, std::string_view context);

/// Prints file, line and the failed condition to stderr and aborts.
[[noreturn]] void check_failed(const char* file, int line, const char* condition,
                               std::string_view message);

}  // namespace rubato

/// Aborts unless `condition` holds; for programmer's errors only.
#define RUBATO_CHECK(condition, ...)                                                      \
  do {                                                                                    \
    if (!(condition)) [[unlikely]]                                                        \
      ::rubato::check_failed(__FILE__, __LINE__, #condition, ::rubato::cat(__VA_ARGS__)); \
  } while (false)

#define RUBATO_CONCAT_INNER(a, b) a##b
#define RUBATO_CONCAT(a, b) RUBATO_CONCAT_INNER(a, b)

#define RUBATO_RETURN_IF_ERROR_IMPL(status, expression)                    \
  do {                                                                     \
    if (::absl::Status status = (expression); !status.ok()) return status; \
  } while (false)

/// Within another one of these, too: each has a name of its own.
#define RUBATO_RETURN_IF_ERROR(expression) \
  RUBATO_RETURN_IF_ERROR_IMPL(RUBATO_CONCAT(rubato_status_, __COUNTER__), expression)

#define RUBATO_ASSIGN_OR_RETURN_IMPL(result, target, expression) \
  auto result = (expression);                                    \
  if (!result.ok()) return std::move(result).status();           \
  target = std::move(result).value()

/// RUBATO_ASSIGN_OR_RETURN(auto x, may_fail()): x, or return the error.
#define RUBATO_ASSIGN_OR_RETURN(target, expression) \
  RUBATO_ASSIGN_OR_RETURN_IMPL(RUBATO_CONCAT(rubato_result_, __LINE__), target, expression)

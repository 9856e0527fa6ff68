// Codes of the two libraries are the same numbers; texts travel as they are.
#pragma once

#include <grpcpp/support/status.h>

#include "rubato/base/status.h"

namespace rubato {

inline Status from_grpc(const grpc::Status& status) {
  return {static_cast<absl::StatusCode>(status.error_code()), status.error_message()};
}
inline grpc::Status to_grpc(const Status& status) {
  return {static_cast<grpc::StatusCode>(status.code()),
          std::string(status.message().data(), status.message().size())};
}

}  // namespace rubato

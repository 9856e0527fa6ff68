// What the tests of the spool share: deltas of any length and what an upload of one announces.
#pragma once

#include <memory>
#include <string>

#include "rubato/base/digest.h"
#include "rubato/store/memory_file_system.h"
#include "rubato/store/spool.h"

namespace rubato {

inline constexpr char kRun[] = "run";

/// Bytes that differ from task to task.
inline std::string tiny_delta(int64_t task, int64_t bytes = 100) {
  std::string delta;
  for (int64_t i = 0; i < bytes; ++i) delta.push_back(static_cast<char>(task * 31 + i));
  return delta;
}

inline DeltaMeta meta_of(std::string_view delta) {
  return {"int8", "block=64", static_cast<int64_t>(delta.size()),
          static_cast<int64_t>(delta.size()), digest_of(delta)};
}

inline std::unique_ptr<Spool> open_spool(FileSystem& files, SpoolOptions options = {}) {
  return Spool::open(files, kRun, std::move(options)).value();
}

/// Sends what is missing of `delta` in chunks and commits.
inline Status upload(Spool& spool, TaskId task, std::string_view delta, size_t chunk_bytes = 30) {
  RUBATO_ASSIGN_OR_RETURN(SpoolUpload upload, spool.begin(task, meta_of(delta)));
  while (upload.offset() < static_cast<int64_t>(delta.size())) {
    const size_t at = static_cast<size_t>(upload.offset());
    RUBATO_RETURN_IF_ERROR(upload.append(upload.offset(), delta.substr(at, chunk_bytes)));
  }
  return upload.commit();
}

}  // namespace rubato

// A worker's bulk transfers: parameters and files down, deltas up. Each goes on where it broke, for
// as long as the worker's patience lasts; only an answer ends it.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "rubato/codec/codec.h"
#include "rubato/rpc/attendance.h"
#include "rubato/rpc/event_outcome.h"
#include "rubato/store/file_system.h"

namespace rubato {

/// An encoded delta. A connection that was given up may read it for a while, so nobody writes to it
/// as long as somebody else holds it. Null: of no bytes.
using Encoding = std::shared_ptr<const std::vector<std::byte>>;

class Courier {
 public:
  /// Link and environment outlive it.
  Courier(CoordinatorLink& link, const WorkerEnvironment& environment)
      : link_(link), environment_(environment) {}

  /// Parameters of a version into `values` [P]. NotFound when the coordinator has them no more.
  /// `is_wanted` as push().
  Status fetch_parameters(int64_t version, const Codec& codec, const v1::Codec& name,
                          std::span<float> values, const std::function<bool()>& is_wanted);
  /// A file of the run, written to `path` and there only when it is whole; kept when it is there
  /// already with the same digest.
  Status fetch_file(const v1::RunFile& file, FileSystem& files, const std::string& path);
  /// Blocks until the delta was judged. `is_wanted` is asked between two tries; Aborted when it
  /// says no. A stop that is asked for ends it after `grace` at the latest.
  StatusOr<UpdateVerdict> push(const v1::DeltaHeader& header, const Encoding& encoded,
                               const Codec& codec, const std::function<bool()>& is_wanted);

 private:
  // One attempt; meanwhile bulk travels.
  Status travel(const std::function<Status()>& attempt);
  // Repeats `attempt` until it succeeds, answers for good, or patience ends.
  Status persist(const std::function<Status()>& attempt, const std::function<bool()>& is_wanted);
  Status push_once(const v1::DeltaHeader& header, const Encoding& encoded, const Codec& codec,
                   UpdateVerdict& verdict);

  CoordinatorLink& link_;
  const WorkerEnvironment& environment_;
};

}  // namespace rubato

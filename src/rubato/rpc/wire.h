// Between the protocol's messages and the program's own types. What comes from a peer is checked
// here, field by field; what goes out is only translated.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "rubato/base/layout.h"
#include "rubato/codec/codec.h"
#include "rubato/coordinator/door.h"
#include "rubato/coordinator/task.h"
#include "rubato/rpc/event_outcome.h"
#include "rubato/v1/control.pb.h"
#include "rubato/v1/exchange.pb.h"
#include "rubato/v1/run.pb.h"

namespace rubato {

/// What this build speaks.
inline constexpr int kProtocolFirst = 1, kProtocolLast = 1;
/// The longest text a peer may send for people, names and digests included.
inline constexpr size_t kLongestText = 256;

/// The largest version both sides speak; FailedPrecondition `[protocol] ..` with both ranges when
/// there is none.
StatusOr<int> common_protocol(const v1::ProtocolRange& peer);

/// `num_params` [floats]: the one fragment spans all of it.
v1::Task to_proto(const Task& task, int64_t num_params);
/// What a worker checks before it trains: InvalidArgument `[task] ..` for a task that is not one of
/// this run.
struct TaskBounds {
  int64_t num_params = 0;
  std::vector<int64_t> shard_sequences;  // of the logical shards
  int64_t batch_sequences = 1;
};
StatusOr<Task> task_from_proto(const v1::Task& message, WorkerId worker, const TaskBounds& bounds);

v1::Layout to_proto(const Layout& layout);
/// 32 hex digits over names and shapes.
std::string layout_digest(const Layout& layout);

v1::RejectReason to_proto(RejectReason reason);
v1::PushReply to_proto(const UpdateVerdict& verdict);
/// InvalidArgument `[exchange] ..` for a reply without a verdict.
StatusOr<UpdateVerdict> verdict_from_proto(const v1::PushReply& reply);

/// What a worker checks before it believes a description: InvalidArgument `[description] ..` for
/// times that cannot be, and for a file whose name leads out of the directory it is written to.
Status check_description(const v1::RunDescription& run);

/// A codec as the protocol names it. NotFound or InvalidArgument as make_codec().
StatusOr<std::shared_ptr<const Codec>> codec_from_proto(const v1::Codec& message);
/// Its options as text, for what lies on disk, and back: `block = 64`.
std::string codec_options_text(const v1::Codec& message);
StatusOr<std::shared_ptr<const Codec>> codec_from_text(const std::string& name,
                                                       const std::string& options);

/// InvalidArgument `[who] NAME: ..` unless `text` is short and printable.
Status check_text(std::string_view who, std::string_view name, const std::string& text);
/// InvalidArgument unless it is 32 hex digits.
Status check_digest(std::string_view who, std::string_view name, const std::string& text);

}  // namespace rubato

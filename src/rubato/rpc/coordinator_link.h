// The coordinator as a worker sees it, whatever carries the messages: gRPC over a network, or calls
// within one process.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "rubato/base/status.h"
#include "rubato/rpc/chunk.h"
#include "rubato/v1/control.pb.h"
#include "rubato/v1/exchange.pb.h"

namespace rubato {

/// The control stream of one session.
class ControlStream {
 public:
  virtual ~ControlStream() = default;
  /// False when the stream is broken. Any thread.
  virtual bool send(const v1::FromWorker& message) = 0;
  /// Blocks; nullopt when the stream has ended, and finish() says why. One thread.
  virtual std::optional<v1::ToWorker> next() = 0;
  /// Why it ended; OK when the coordinator ended it. After next() gave nullopt, once.
  virtual Status finish() = 0;
  /// Ends the stream from this side, at once: next() returns. Any thread.
  virtual void cancel() = 0;
};

/// Errors are gRPC's codes: Unavailable is worth another try, everything else is an answer. Calls
/// may be made from several threads at a time.
class CoordinatorLink {
 public:
  virtual ~CoordinatorLink() = default;
  virtual StatusOr<v1::RunDescription> describe(const v1::DescribeRequest& request) = 0;
  /// Sends the hello; the welcome is the stream's first message.
  virtual StatusOr<std::unique_ptr<ControlStream>> attend(const v1::Hello& hello) = 0;
  /// Hands chunks to `sink` in order until it fails or all have come.
  virtual Status fetch(const v1::FetchRequest& request,
                       const std::function<Status(const Chunk&)>& sink) = 0;
  virtual StatusOr<v1::PushOffsetReply> push_offset(const v1::PushOffsetRequest& request) = 0;
  /// `source` gives the next chunk, or returns false when there is none.
  virtual StatusOr<v1::PushReply> push(const v1::DeltaHeader& header,
                                       const std::function<bool(Chunk&)>& source) = 0;
};

}  // namespace rubato

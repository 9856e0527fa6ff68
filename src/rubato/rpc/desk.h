// Where the messages of workers arrive, whatever carried them. A run that has its model has a
// reception there; before that, a founding.
#pragma once

#include <memory>

#include "rubato/base/ids.h"
#include "rubato/base/status.h"
#include "rubato/v1/control.pb.h"
#include "rubato/v1/exchange.pb.h"

namespace rubato {

class Fetch;
class Found;
class Push;
class Session;

/// Thread-safe. Each call is one of the protocol's, with who makes it.
class Desk {
 public:
  virtual ~Desk() = default;
  virtual StatusOr<v1::RunDescription> describe(const v1::DescribeRequest& request) const = 0;
  virtual StatusOr<std::unique_ptr<Session>> attend(WorkerId worker, const v1::Hello& hello) = 0;
  virtual StatusOr<Fetch> fetch(WorkerId worker, const v1::FetchRequest& request) const = 0;
  virtual StatusOr<v1::PushOffsetReply> push_offset(WorkerId worker,
                                                    const v1::PushOffsetRequest& request) const = 0;
  virtual StatusOr<std::unique_ptr<Push>> push(WorkerId worker, const v1::DeltaHeader& header) = 0;
  virtual StatusOr<std::unique_ptr<Found>> found(WorkerId worker,
                                                 const v1::FoundHeader& header) = 0;
};

}  // namespace rubato

// How a run of an opaque model gets its model. Until it has one, this is all of the coordinator
// that workers see: they are told so, and the first that sends a layout and parameters founds the
// run. Once these are on disk (model_file.h) the founding is over; the coordinator opens the run
// with them and puts a reception in this one's place. A coordinator that dies before asks the next
// worker.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "rubato/base/digest.h"
#include "rubato/rpc/chunk.h"
#include "rubato/rpc/desk.h"
#include "rubato/rpc/model_file.h"
#include "rubato/rpc/notice.h"

namespace rubato {

struct FoundingConfig {
  std::string directory;  // of the run
  /// What any worker is told. `wants_model` is set here.
  v1::RunDescription description;
  /// Whether this machine can hold a run of so many parameters; asked before any byte is taken.
  std::function<Status(const Layout&)> check_room;
  NoticeSink note;
};

/// A layout as a peer describes it. InvalidArgument `[layout] ..` for one that cannot be: no
/// tensors or too many, names that are no texts or come twice, sizes below 1, other types than F32,
/// unknown roles, another digest than its own.
StatusOr<Layout> layout_from_proto(const v1::Layout& message);

/// Parameters on their way to the disk, of the only worker that founds at a time.
class Found {
 public:
  /// The next chunk, in order. DataLoss or InvalidArgument end the founding: somebody begins anew.
  Status add(const Chunk& chunk);
  /// Once all has come: the run has its model when this is OK.
  StatusOr<v1::FoundReply> finish();

 private:
  friend class Founding;
  Found(ModelFileWriter writer, std::string digest, int64_t bytes, std::function<void()> done,
        std::shared_ptr<const void> turn)
      : writer_(std::move(writer)),
        digest_(std::move(digest)),
        bytes_(bytes),
        done_(std::move(done)),
        turn_(std::move(turn)) {}

  ModelFileWriter writer_;
  std::string digest_;  // that was announced
  int64_t bytes_;       // [bytes] of all parameters
  std::function<void()> done_;
  std::shared_ptr<const void> turn_;
  Digester digester_;
  int64_t offset_ = 0;  // [bytes] that are here
};

class Founding final : public Desk {
 public:
  /// `files` outlives it, and so does it the uploads that it began.
  Founding(FileSystem& files, FoundingConfig config) : files_(files), config_(std::move(config)) {}

  StatusOr<v1::RunDescription> describe(const v1::DescribeRequest& request) const override;
  /// Unavailable while another worker founds; AlreadyExists once the run has its model.
  StatusOr<std::unique_ptr<Found>> found(WorkerId worker, const v1::FoundHeader& header) override;
  // FailedPrecondition, all of them: there is nothing to attend yet.
  StatusOr<std::unique_ptr<Session>> attend(WorkerId worker, const v1::Hello& hello) override;
  StatusOr<Fetch> fetch(WorkerId worker, const v1::FetchRequest& request) const override;
  StatusOr<v1::PushOffsetReply> push_offset(WorkerId worker,
                                            const v1::PushOffsetRequest& request) const override;
  StatusOr<std::unique_ptr<Push>> push(WorkerId worker, const v1::DeltaHeader& header) override;

  /// Waits until the run has its model, or `timeout` [ns] are over: whether it has.
  bool wait(Nanos timeout);

 private:
  FileSystem& files_;
  FoundingConfig config_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::weak_ptr<const void> turn_;  // of the worker that founds
  bool founded_ = false;
};

}  // namespace rubato

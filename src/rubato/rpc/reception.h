// Where every message of a worker arrives, whatever carried it: it is checked field by field here,
// before anything else sees it. Thread-safe.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "rubato/base/flat_ops.h"
#include "rubato/codec/codec.h"
#include "rubato/rpc/chunk.h"
#include "rubato/rpc/cluster.h"
#include "rubato/rpc/codec_agreement.h"
#include "rubato/rpc/desk.h"
#include "rubato/rpc/link_pacer.h"
#include "rubato/rpc/rate_limit.h"
#include "rubato/rpc/wire.h"

namespace rubato {

/// What a coordinator tells about its run besides what the cluster knows.
struct ReceptionConfig {
  std::string recipe_toml;
  std::string tokenizer_digest;
  std::string data_directory;  // of the run's files; "" when there are none
  std::vector<v1::RunFile> files;
  int64_t worker_memory_bytes = 0;  // [bytes] that a worker of this program needs; 0: unknown
  Nanos heartbeat_interval = 2 * kNanosPerSecond;
  // Of one worker. Each hello may be an event of the journal, and so is each delta that is refused.
  Rate hellos{.burst = 16, .interval = kNanosPerSecond};
  Rate refusals{.burst = 64, .interval = kNanosPerSecond};
};

/// A worker's session, from its hello to the end of its stream.
class Session {
 public:
  /// `pacer` null: the worker does not tell how long messages travel.
  Session(Cluster& cluster, WorkerId worker, v1::ToWorker welcome, std::shared_ptr<Mailbox> box,
          std::shared_ptr<LinkPacer> pacer)
      : cluster_(cluster),
        worker_(worker),
        welcome_(std::move(welcome)),
        box_(std::move(box)),
        pacer_(std::move(pacer)) {}
  ~Session() { cluster_.detach(worker_, box_.get()); }

  /// The first message to the worker; the mailbox holds the others.
  const v1::ToWorker& welcome() const { return welcome_; }
  Mailbox& box() { return *box_; }
  /// Cancelled after a goodbye; InvalidArgument for a message that cannot be: the session ends.
  Status receive(const v1::FromWorker& message);

 private:
  Cluster& cluster_;
  WorkerId worker_;
  v1::ToWorker welcome_;
  std::shared_ptr<Mailbox> box_;
  std::shared_ptr<LinkPacer> pacer_;
};

/// Parameters or a file on their way to a worker.
class Fetch {
 public:
  /// The next chunk, as soon as it may be sent; false at the end.
  bool next(Chunk& chunk);

 private:
  friend class Reception;
  ClusterGauges* gauges_ = nullptr;
  FileView view_;                       // what is sent, or what is encoded for it
  std::string_view bytes_;              // of it, when they are sent as they are
  std::span<const float> floats_;       // of parameters
  std::shared_ptr<const Codec> codec_;  // null when bytes are sent as they are
  BufferPool encodings_;
  std::shared_ptr<LinkPacer> pacer_;  // may be null
  int64_t offset_ = 0, total_ = 0;    // [bytes] of the encoding
  int64_t block_bytes_ = 1;           // [bytes] that a chunk cannot cut
};

/// A delta on its way into the spool, measured as it comes.
class Push {
 public:
  /// The next chunk, in order; DataLoss or InvalidArgument end the push, what came before stays.
  Status add(const Chunk& chunk);
  /// Once all has come: makes it safe, lets the door judge it and waits for the verdict.
  StatusOr<v1::PushReply> finish();
  /// Present when no byte is wanted: the answer at once.
  const std::optional<v1::PushReply>& answer() const { return answer_; }

 private:
  friend class Reception;
  Push(Cluster& cluster, RateLimit& refusals) : cluster_(cluster), refusals_(refusals) {}
  Status measure(int64_t offset, std::string_view bytes);
  Status measure_spooled();

  Cluster& cluster_;
  RateLimit& refusals_;
  WorkerId worker_;
  DeltaClaim claim_;
  std::shared_ptr<const Codec> codec_;
  std::optional<v1::PushReply> answer_;
  std::optional<SpoolUpload> upload_;
  int64_t offset_ = 0;          // [bytes] of the encoding that are here
  bool measured_whole_ = true;  // no part of it came before this push
  NormAccumulator norm_;
  std::vector<float> scratch_;  // of some blocks' values
};

class Reception final : public Desk {
 public:
  /// The cluster outlives it; its machine's codecs are what workers are told, unless they cannot
  /// use them. InvalidArgument or NotFound for a codec that is not one.
  static StatusOr<std::unique_ptr<Reception>> make(Cluster& cluster, ReceptionConfig config);

  StatusOr<v1::RunDescription> describe(const v1::DescribeRequest& request) const override;
  /// FailedPrecondition for a hello of another run or release, or one that lacks a codec on which
  /// the virtual clock insists; ResourceExhausted when the worker has too little memory, or attends
  /// so often that it is no use to anybody.
  StatusOr<std::unique_ptr<Session>> attend(WorkerId worker, const v1::Hello& hello) override;
  StatusOr<Fetch> fetch(WorkerId worker, const v1::FetchRequest& request) const override;
  StatusOr<v1::PushOffsetReply> push_offset(WorkerId worker,
                                            const v1::PushOffsetRequest& request) const override;
  /// ResourceExhausted while the spool has no room, or when the door refused too many of the
  /// worker's deltas lately. Unavailable for a codec that needs a hello first.
  StatusOr<std::unique_ptr<Push>> push(WorkerId worker, const v1::DeltaHeader& header) override;
  /// AlreadyExists: the run has its model.
  StatusOr<std::unique_ptr<Found>> found(WorkerId worker, const v1::FoundHeader& header) override;

 private:
  Reception(Cluster& cluster, ReceptionConfig config, CodecAgreement codecs)
      : cluster_(cluster),
        config_(std::move(config)),
        codecs_(std::move(codecs)),
        hellos_(config_.hellos),
        refusals_(config_.refusals) {}
  Status check_hello(const v1::Hello& hello) const;
  Status check_memory(int64_t bytes) const;
  void keep_agreed(WorkerId worker, const SessionCodecs& codecs);
  StatusOr<SessionCodecs> agreed_with(WorkerId worker, const v1::DeltaHeader& header) const;
  Status check_header(const v1::DeltaHeader& header, const NamedCodec& agreed) const;
  void say_room(const Status& begun);

  Cluster& cluster_;
  ReceptionConfig config_;
  CodecAgreement codecs_;
  RateLimit hellos_, refusals_;
  std::atomic<bool> is_full_{false};  // the last upload found no room
  mutable std::mutex sessions_mutex_;
  std::map<WorkerId, std::weak_ptr<LinkPacer>> pacers_;
  std::map<WorkerId, SessionCodecs> agreed_;  // of the last session
};

}  // namespace rubato

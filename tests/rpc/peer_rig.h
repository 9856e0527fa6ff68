// A coordinator in this process, in memory and on a clock that only the test moves, and the
// messages of a peer that does everything right: tests and fuzzers spoil them one by one.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "tests/rpc/locked_file_system.h"

#include "rubato/metrics/sink.h"
#include "rubato/rpc/cluster.h"
#include "rubato/rpc/reception.h"
#include "rubato/trainer/quadratic.h"

namespace rubato {

struct PeerRigOptions {
  int64_t dim = 32;  // P
  int64_t local_steps = 4;
  int64_t budget_steps = 1'000'000;
  std::string gate = "free";
  std::optional<int64_t> save_every_steps = {};
  Overlap overlap = Overlap::kNone;
  std::optional<std::vector<ScriptedWorker>> script = {};
  Choice up_codec{"fp32", {}}, down_codec{"fp32", {}};
  ReceptionConfig reception = {};
};

/// Data of a delta: what its header announces and its bytes.
struct PeerDelta {
  v1::DeltaHeader header;
  std::string encoded;
};

class PeerRig {
 public:
  using Options = PeerRigOptions;
  /// A run of its own, with training under way.
  explicit PeerRig(Options options = {});
  ~PeerRig();

  /// The coordinator came up again, as far as workers notice: nobody has said hello yet.
  void forget_sessions();

  Cluster& cluster() { return *cluster_; }
  Reception& reception() { return *reception_; }
  FileSystem& files() { return files_; }
  const QuadraticWorkload& workload() const { return *workload_; }
  const RecordLog& log() const { return sink_.log(); }
  void advance(Nanos by) { now_ += by; }
  /// Ends the driver; the state can be looked at. Once.
  Status stop();
  /// After stop(). Theta [P] that the run began with, and whether theta still is that.
  const std::vector<float>& initial() const { return initial_; }
  bool theta_is_initial() const;
  /// What the journal holds of peers, one line an event.
  std::vector<std::string> history();

  v1::DescribeRequest describe_request() const;
  v1::Hello hello() const;
  /// The session of a right hello, and the task that came with it.
  struct Attendee {
    std::unique_ptr<Session> session;
    v1::Task task;
  };
  Attendee attend(int64_t worker);
  /// The next dispatch of a session; waits for it.
  static v1::Task next_task(Session& session);
  /// All steps of the task done, with that pseudo-gradient [P].
  PeerDelta delta(const v1::Task& task, std::span<const float> values) const;
  PeerDelta delta(const v1::Task& task, float value = 0.01F) const;
  /// The same by another codec than fp32.
  PeerDelta delta_by(const v1::Codec& codec, const v1::Task& task, float value = 0.01F) const;
  /// Sends it in chunks of about so many bytes, beginning at `offset`.
  StatusOr<v1::PushReply> push(int64_t worker, const PeerDelta& delta, int64_t chunk_bytes = 64,
                               int64_t offset = 0);
  /// Its data lies in `encoded`.
  static Chunk chunk_of(std::string_view encoded, int64_t offset, int64_t bytes);

 private:
  Options options_;
  LockedFileSystem files_;
  MemorySink sink_;
  std::unique_ptr<QuadraticWorkload> workload_;
  std::vector<float> initial_;
  std::atomic<Nanos> now_{0};
  std::unique_ptr<Cluster> cluster_;
  std::unique_ptr<Reception> reception_;
  std::atomic<bool> stop_{false};
  std::thread driver_;
  StatusOr<Cluster::End> end_ = absl::UnknownError("not run");
};

}  // namespace rubato

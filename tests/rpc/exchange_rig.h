// A coordinator over real gRPC in this process, and workers that train nothing: for tests of what
// travels between the two.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "rubato/base/layout.h"
#include "rubato/metrics/sink.h"
#include "rubato/rpc/cluster.h"
#include "rubato/rpc/courier.h"
#include "rubato/rpc/grpc_link.h"
#include "rubato/rpc/grpc_service.h"
#include "rubato/rpc/reception.h"
#include "rubato/store/posix_file_system.h"

namespace rubato {

struct ExchangeRigConfig {
  std::string directory;  // of the run; removed at the end
  int64_t num_params = 0;
  std::string listen = "127.0.0.1:0";
};

/// sgd on every delta as it comes, so theta is the only plane; fp32 both ways; theta begins with
/// 0.5 everywhere.
class ExchangeRig {
 public:
  explicit ExchangeRig(const ExchangeRigConfig& config);
  ~ExchangeRig();

  Cluster& cluster() { return *cluster_; }
  int port() const { return server_->port(); }
  /// How a new worker connects to the coordinator, by whatever way `address` is.
  LinkConfig admit(const std::string& address);

 private:
  PosixFileSystem files_;
  std::string directory_;
  Layout layout_;
  MemorySink sink_;
  std::unique_ptr<Cluster> cluster_;
  std::unique_ptr<Reception> reception_;
  std::optional<Authority> authority_;
  std::unique_ptr<Admission> admission_;
  std::optional<Gatekeeper> gatekeeper_;
  std::unique_ptr<GrpcServer> server_;
  std::atomic<bool> stop_{false};
  std::thread driver_;
};

/// What a link saw pass.
struct LinkNotes {
  std::vector<int64_t> tries;
  std::mutex mutex;
  std::vector<Nanos> round_trips;  // under the mutex
};

/// Attends, and carries what a test hands it. What cannot be made fails the program.
class SyntheticWorker {
 public:
  SyntheticWorker(const LinkConfig& config, int64_t num_params);

  /// Waits for it.
  v1::Task next_task();
  /// The delta of a task, fp32.
  StatusOr<UpdateVerdict> push(const v1::Task& task, const Encoding& delta);
  Status fetch(int64_t version, std::span<float> values);
  /// [bytes] of the encoding where each try of a push or fetch began.
  const std::vector<int64_t>& tries() const { return notes_.tries; }
  /// How long heartbeats and their answers took since this was asked last.
  std::vector<Nanos> take_round_trips();
  Attendance& attendance() { return *attendance_; }
  CoordinatorLink& link() { return *link_; }

 private:
  std::unique_ptr<CoordinatorLink> wire_, link_;
  LinkNotes notes_;
  std::shared_ptr<const Codec> codec_;
  v1::Codec codec_name_;
  v1::RunDescription run_;
  WorkerEnvironment environment_;
  std::optional<Attendance> attendance_;
  std::optional<Courier> courier_;
};

/// `num_params` times `value` in fp32.
Encoding constant_delta(int64_t num_params, float value);

}  // namespace rubato

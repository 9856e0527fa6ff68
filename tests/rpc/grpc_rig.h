// A coordinator behind gRPC and TLS on loopback, workers with certificates of its authority, and
// one honest worker that counts what it gets done while others misbehave.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "tests/rpc/peer_rig.h"

#include "rubato/rpc/grpc_link.h"
#include "rubato/rpc/grpc_service.h"
#include "rubato/rpc/reception.h"
#include "rubato/rpc/worker_key.h"

namespace rubato {

struct GrpcRigOptions {
  PeerRigOptions peers = {};
  ServerConfig server = {};  // address and credentials are the rig's
};

class GrpcRig {
 public:
  explicit GrpcRig(GrpcRigOptions options = {});
  ~GrpcRig();

  PeerRig& peers() { return peers_; }
  Authority& authority() { return *authority_; }
  Admission& admission() { return *admission_; }
  int port() const { return server_->port(); }
  std::string address() const;
  int64_t now() const;  // [unix s] as the gatekeeper sees it
  void advance(int64_t by_s) { offset_s_ += by_s; }

  std::string invite();
  /// Nobody yet: knows where and whom to trust.
  LinkConfig stranger() const;
  /// Enrolled over the network.
  LinkConfig enrolled();
  /// With a certificate of any authority, for any time.
  LinkConfig certified(const Authority& authority, WorkerId worker, int64_t now_unix_s) const;

 private:
  std::unique_ptr<Authority> authority_;
  std::unique_ptr<Admission> admission_;
  std::unique_ptr<Gatekeeper> gatekeeper_;
  std::atomic<int64_t> offset_s_{0};
  PeerRig peers_;
  std::unique_ptr<GrpcServer> server_;
};

/// Fetches, pushes and takes the next task, again and again.
class HonestWorker {
 public:
  explicit HonestWorker(GrpcRig& rig);
  ~HonestWorker();
  int64_t applied() const { return applied_; }
  /// Until so many more deltas were applied; false when that takes minutes.
  bool gets_done(int64_t more) const;

 private:
  void work();
  Status attend_once();

  GrpcRig& rig_;
  std::unique_ptr<CoordinatorLink> link_;
  std::atomic<bool> stop_{false};
  std::atomic<int64_t> applied_{0};
  std::thread thread_;
};

/// Looks until it is so; false when that takes minutes.
bool wait_until(const std::function<bool()>& is_so);
/// Of this process.
int64_t thread_count();
int64_t resident_bytes();

}  // namespace rubato

// Ends the sessions of workers that were revoked meanwhile, by this process or another: it reads
// DIR/admission.json again every second.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

#include "rubato/rpc/admission.h"
#include "rubato/rpc/cluster.h"

namespace rubato {

class RevocationWatch {
 public:
  /// Both outlive it. Not for the virtual clock, whose script alone says who leaves.
  RevocationWatch(Admission& admission, Cluster& cluster);
  ~RevocationWatch();
  RevocationWatch(const RevocationWatch&) = delete;
  RevocationWatch& operator=(const RevocationWatch&) = delete;

 private:
  void watch();
  void look();

  Admission& admission_;
  Cluster& cluster_;
  bool unreadable_ = false;  // it was said that the file cannot be read
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace rubato

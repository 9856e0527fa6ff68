#include "rubato/rpc/revocation_watch.h"

#include <chrono>

namespace rubato {
namespace {

constexpr auto kPeriod = std::chrono::seconds(1);

}  // namespace

RevocationWatch::RevocationWatch(Admission& admission, Cluster& cluster)
    : admission_(admission), cluster_(cluster) {
  thread_ = std::thread([this] { watch(); });
}

RevocationWatch::~RevocationWatch() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  thread_.join();
}

void RevocationWatch::watch() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    lock.unlock();
    look();
    lock.lock();
    changed_.wait_for(lock, kPeriod, [&] { return stopping_; });
  }
}

void RevocationWatch::look() {
  const Status status = admission_.refresh().status();
  if (!status.ok() && !unreadable_) {
    cluster_.say({.level = Notice::Level::kError,
                  .event = "admission",
                  .text = cat("revocations are not seen: ", status.message()),
                  .facts = {}});
  }
  unreadable_ = !status.ok();
  for (const AdmittedWorker& worker : admission_.list()->workers) {
    if (!worker.revoked) continue;
    // Nobody there is what most revoked workers are; a cluster that ends needs no eviction.
    cluster_.evict(worker.id, "revoked").IgnoreError();
  }
}

}  // namespace rubato

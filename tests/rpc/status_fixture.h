// A status in which every field says something, for tests of its texts.
#pragma once

#include "rubato/v1/admin.pb.h"

namespace rubato {

inline v1::StatusReply full_status() {
  v1::StatusReply status;
  status.set_run("0123456789abcdef0123456789abcdef");
  status.set_incarnation(1);
  status.set_build("0.1.0-test");
  status.set_method("dn-dylu");
  status.set_started(true);
  status.set_version(41);
  status.set_steps(2050);
  status.set_budget_steps(8000);
  status.set_tokens(1'049'600);
  status.set_steps_per_s(4.5);
  status.set_tokens_per_s(2304);
  status.set_applied(40);
  status.set_discarded(1);
  status.set_rejected(2);
  status.set_losses(3);
  status.set_tasks_in_flight(2);
  const v1::WorkerStatus::State states[] = {
      v1::WorkerStatus::STATE_TRAINING, v1::WorkerStatus::STATE_WAITING,
      v1::WorkerStatus::STATE_ABSENT, v1::WorkerStatus::STATE_LOST};
  for (int i = 0; i < 4; ++i) {
    v1::WorkerStatus& worker = *status.add_workers();
    worker.set_worker(i);
    worker.set_state(states[i]);
    if (i < 3) worker.set_silent_ns(i * int64_t{1'500'000'000});
    if (i > 0) worker.set_steps_per_s(1.25 * i);
  }
  status.mutable_workers(0)->set_tasks_in_flight(1);
  status.set_loss_nats(3.25);
  status.set_loss_steps(2000);
  status.set_spool_bytes(4'000'000);
  status.set_spool_quota_bytes(2'000'000'000);
  status.set_versions_bytes(8'000'000);
  status.set_journal_bytes(12'345);
  status.set_disk_free_bytes(50'000'000'000);
  status.set_uptime_ns(7'505'000'000'000);
  status.set_received_bytes(160'000'000);
  status.set_sent_bytes(320'000'000);
  status.set_journal_syncs(97);
  status.set_journal_sync_ns(250'000'000);
  status.set_driver_silent_ns(20'000'000);
  status.set_events_waiting(5);
  return status;
}

}  // namespace rubato

// A worker, put together as `rubato worker --insecure` does it.
#include <cstdio>
#include <thread>

#include "tests/rpc/actors/actors.h"
#include "tests/rpc/actors/killing_worker.h"
#include "tests/rpc/actors/scene.h"

#include "rubato/rpc/grpc_link.h"
#include "rubato/rpc/wire.h"
#include "rubato/rpc/worker_program.h"
#include "rubato/store/posix_file_system.h"

namespace rubato {
namespace {

// A worker that is started while the coordinator is down asks until it is back.
StatusOr<v1::RunDescription> describe_patiently(CoordinatorLink& link) {
  v1::DescribeRequest request;
  request.mutable_protocol()->set_first(kProtocolFirst);
  request.mutable_protocol()->set_last(kProtocolLast);
  for (;;) {
    StatusOr<v1::RunDescription> run = link.describe(request);
    if (run.ok() || !is_worth_another_try(run.status())) return run;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

}  // namespace

Status play_worker(const Facts& words) {
  const Scene scene = make_scene(words);
  const WorkerId worker(integer_of(words, "worker", 0));
  Trap trap(text_of(words, "fault"), join_path(scene.directory, "kills"));
  LinkConfig link_config;
  link_config.address = text_of(words, "listen");
  link_config.worker = worker.value();
  link_config.token = text_of(words, "token");
  const auto wire = make_grpc_link(link_config);
  const auto link = make_killing_link(trap, *wire);
  const auto workload = make_killing_workload(trap, *scene.workload);
  RUBATO_ASSIGN_OR_RETURN(const v1::RunDescription run, describe_patiently(*link));

  PosixFileSystem files;
  RUBATO_ASSIGN_OR_RETURN(const auto verdicts,
                          files.open_append(join_path(scene.directory, cat("verdicts-", worker))));
  const Nanos min_step = integer_of(words, "min_step_us", 1000) * 1000;
  const WorkerConfig config{.worker = worker,
                            .run = run,
                            .settings = scene.worker,
                            .overlap = scene.cluster.machine.coordinator.overlap,
                            .threads = 1,
                            .memory_bytes = 0,
                            .ns_per_step = min_step,
                            .min_step_ns = min_step,
                            .state_directory = join_path(scene.directory, cat("state-", worker))};
  const DataMap data(scene.workload->shard_sequences(), false, 3);
  WorkerServices services;
  services.link = link.get();
  services.files = &files;
  services.workload = workload.get();
  services.data = &data;
  services.environment.clock = steady_now;
  services.environment.note = [](const Notice& notice) {
    std::fprintf(stderr, "note: %s\n", notice.text.c_str());
  };
  services.report = [&](const TaskReport& report) {
    const std::string line = cat("task=", report.task, " ", report.verdict, "\n");
    RUBATO_CHECK(verdicts->append(line).ok() && verdicts->sync().ok(), line);
  };
  return work(config, services);
}

}  // namespace rubato

// A coordinator, put together as `rubato coordinator --insecure` does it.
#include <csignal>
#include <cstdio>

#include "tests/rpc/actors/actors.h"
#include "tests/rpc/actors/killing_file_system.h"
#include "tests/rpc/actors/scene.h"

#include "rubato/metrics/sink.h"
#include "rubato/rpc/grpc_service.h"
#include "rubato/rpc/reception.h"

namespace rubato {
namespace {

std::atomic<bool> stop_asked{false};

// Every task whose delta counts, by what the door would say to it.
std::string applied_tasks(const Cluster& cluster) {
  std::vector<int64_t> applied;
  for (int64_t task = 0;; ++task) {
    const auto verdict = cluster.answer_at_once(WorkerId(0), TaskId(task));
    if (verdict && verdict->kind == UpdateVerdict::Kind::kApplied) applied.push_back(task);
    if (verdict && verdict->kind == UpdateVerdict::Kind::kRejected &&
        verdict->reason == RejectReason::kUnknownTask) {
      return join(applied, " ");
    }
  }
}

Facts result_of(Cluster& cluster, Cluster::End end) {
  int64_t in_flight = 0;  // [sequences]
  for (const Task& task : cluster.tasks_in_flight()) {
    for (const DataRange& range : task.ranges) in_flight += range.count;
  }
  return {{"end", end == Cluster::End::kFinished ? "finished" : "stopped"},
          {"state_digest", cluster.state_digest()},
          {"effects_digest", cluster.effects_digest()},
          {"steps", cat(cluster.counts().steps)},
          {"arrivals", cat(cluster.counts().arrivals)},
          {"sequences_in_flight", cat(in_flight)},
          {"applied", applied_tasks(cluster)}};
}

StatusOr<std::unique_ptr<Cluster>> open_cluster(const Scene& scene, KillingFileSystem& files,
                                                MetricsSink& sink) {
  const ClusterServices services{
      .files = &files,
      .clock = steady_now,
      .sink = &sink,
      .evaluate = nullptr,
      .note = [](const Notice& notice) { std::fprintf(stderr, "note: %s\n", notice.text.c_str()); },
      .stop_evaluation = nullptr,
      .snapshot_notes = nullptr};
  const QuadraticWorkload& workload = *scene.workload;
  return Cluster::open(scene.cluster, services, workload.layout(),
                       [&]() -> StatusOr<std::vector<float>> {
                         std::vector<float> theta(static_cast<size_t>(workload.layout().size()));
                         workload.initialise(1, theta);
                         return theta;
                       });
}

}  // namespace

Status play_coordinator(const Facts& words) {
  std::signal(SIGTERM, [](int) { stop_asked = true; });
  const Scene scene = make_scene(words);
  Trap trap(text_of(words, "fault"), join_path(scene.directory, "kills"));
  KillingFileSystem files(trap, scene.directory);
  MemorySink sink;
  RUBATO_ASSIGN_OR_RETURN(const auto cluster, open_cluster(scene, files, sink));
  files.start_serving();
  ReceptionConfig config;
  config.heartbeat_interval = kNanosPerSecond / 10;
  RUBATO_ASSIGN_OR_RETURN(const auto reception, Reception::make(*cluster, config));
  RUBATO_ASSIGN_OR_RETURN(const Authority authority,
                          Authority::create_or_load(files, scene.directory, kSceneNow));
  RUBATO_ASSIGN_OR_RETURN(const auto admission, Admission::open(files, scene.directory));
  Gatekeeper gatekeeper(authority, *admission, true, [] { return kSceneNow; });
  ServerConfig server_config;
  server_config.listen = text_of(words, "listen");
  RUBATO_ASSIGN_OR_RETURN(const auto server, listen_grpc(server_config, *reception, gatekeeper));
  std::fputs("listening\n", stderr);
  RUBATO_ASSIGN_OR_RETURN(const Cluster::End end, cluster->run(&stop_asked));
  return files.replace_file(join_path(scene.directory, "result"),
                            to_lines(result_of(*cluster, end)));
}

}  // namespace rubato

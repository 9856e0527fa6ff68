// The two ends of a bulk transfer, each in a network namespace of its own.
#include <algorithm>
#include <atomic>
#include <csignal>
#include <thread>

#include "tests/rpc/actors/actors.h"
#include "tests/rpc/actors/scene.h"
#include "tests/rpc/exchange_rig.h"
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

namespace rubato {
namespace {

std::atomic<bool> stop_asked{false};

// Before there are threads.
Status enter_namespace(const std::string& name) {
  const int fd = ::open(cat("/run/netns/", name).c_str(), O_RDONLY | O_CLOEXEC);
  const bool entered = fd >= 0 && ::setns(fd, CLONE_NEWNET) == 0;
  ::close(fd);
  return entered ? absl::OkStatus() : absl::UnavailableError(cat("[test] got no namespace ", name));
}

std::string path_of(const Facts& words, const std::string& name) {
  return join_path(text_of(words, "directory"), name);
}

// What a transfer was like, under names that begin with its own.
void add_figures(Facts& facts, const std::string& name, int64_t bytes, Nanos took,
                 std::vector<Nanos> round_trips) {
  std::ranges::sort(round_trips);
  RUBATO_CHECK(!round_trips.empty(), "no heartbeat during ", name);
  const auto at = [&](size_t percent) {
    return round_trips[(round_trips.size() - 1) * percent / 100] / 1000;
  };
  facts[name + "_kbit_per_s"] = cat(bytes * 8 * 1'000'000 / took);
  facts[name + "_heartbeats"] = cat(round_trips.size());
  facts[name + "_p50_us"] = cat(at(50));
  facts[name + "_p99_us"] = cat(at(99));
  facts[name + "_longest_us"] = cat(at(100));
}

}  // namespace

Status play_exchange_coordinator(const Facts& words) {
  std::signal(SIGTERM, [](int) { stop_asked = true; });
  RUBATO_RETURN_IF_ERROR(enter_namespace(text_of(words, "netns")));
  ExchangeRig rig({.directory = path_of(words, "run"),
                   .num_params = integer_of(words, "num_params", 1),
                   .listen = text_of(words, "listen")});
  const LinkConfig worker = rig.admit(text_of(words, "listen"));
  PosixFileSystem files;
  RUBATO_RETURN_IF_ERROR(
      files.replace_file(path_of(words, "admitted"),
                         to_lines({{"worker", cat(worker.worker)}, {"token", worker.token}})));
  while (!stop_asked) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  return absl::OkStatus();
}

Status play_exchange_worker(const Facts& words) {
  RUBATO_RETURN_IF_ERROR(enter_namespace(text_of(words, "netns")));
  PosixFileSystem files;
  RUBATO_ASSIGN_OR_RETURN(const std::string admitted, files.read_file(path_of(words, "admitted")));
  const Facts identity = facts_of_lines(admitted);
  LinkConfig config;
  config.address = text_of(words, "listen");
  config.worker = integer_of(identity, "worker", -1);
  config.token = text_of(identity, "token");
  const int64_t num_params = integer_of(words, "num_params", 1);
  const int64_t bytes = num_params * static_cast<int64_t>(sizeof(float));
  SyntheticWorker worker(config, num_params);
  const v1::Task task = worker.next_task();
  const Encoding delta = constant_delta(num_params, 1e-3f);
  Facts facts;

  worker.take_round_trips();
  Nanos began = steady_now();
  RUBATO_RETURN_IF_ERROR(worker.push(task, delta).status());
  add_figures(facts, "push", bytes, steady_now() - began, worker.take_round_trips());

  std::vector<float> values(static_cast<size_t>(num_params));
  const v1::Task next = worker.next_task();
  worker.take_round_trips();
  began = steady_now();
  RUBATO_RETURN_IF_ERROR(worker.fetch(next.fragments(0).base_version(), values));
  add_figures(facts, "fetch", bytes, steady_now() - began, worker.take_round_trips());
  return files.replace_file(path_of(words, "figures"), to_lines(facts));
}

}  // namespace rubato

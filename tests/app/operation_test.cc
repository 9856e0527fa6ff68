// A real cluster and its operator: status and control, monitors, revocation, certificates that end,
// and a stop under load.
#include "rubato/app/operation.h"

#include <chrono>
#include <csignal>
#include <fstream>
#include <set>
#include <thread>

#include "tests/app/cluster_rig.h"
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rubato/rpc/logged_event.h"
#include "rubato/store/journal_reader.h"
#include "rubato/store/posix_file_system.h"

namespace rubato {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using Clock = std::chrono::steady_clock;

// What a page of this machine answers, header and all.
std::string get(const std::string& address, const std::string& path) {
  const StatusOr<Address> parsed = parse_address(address);
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in peer = {};
  peer.sin_family = AF_INET;
  peer.sin_port = htons(static_cast<uint16_t>(parsed->port));
  peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(socket, reinterpret_cast<const sockaddr*>(&peer), sizeof peer), 0);
  const std::string request = "GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
  EXPECT_EQ(send(socket, request.data(), request.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(request.size()));
  std::string answer;
  char part[4096];
  for (ssize_t got = 0; (got = recv(socket, part, sizeof part, 0)) > 0;)
    answer.append(part, static_cast<size_t>(got));
  close(socket);
  return answer;
}

// Tasks whose delta the worker saw applied.
std::set<int64_t> acknowledged(const RunningCluster& cluster, const std::string& worker) {
  std::set<int64_t> tasks;
  for (const auto& line : cluster.logged(worker, "task")) {
    if (line.at("verdict") == "applied") tasks.insert(line.at("task").get<int64_t>());
  }
  return tasks;
}

std::set<int64_t> journaled(const std::string& run_directory) {
  PosixFileSystem files;
  std::set<int64_t> tasks;
  auto journal = JournalReader::open(files, run_directory, {});
  EXPECT_TRUE(journal.ok()) << journal.status();
  for (auto next = journal->next(); next.ok() && *next; next = journal->next()) {
    const auto record = logged_event_from((*next)->bytes);
    EXPECT_TRUE(record.ok()) << record.status();
    if (const auto* update = std::get_if<UpdateArrived>(&record->event))
      tasks.insert(update->task.value());
  }
  return tasks;
}

TEST(ParseListen, WithoutAHostItIsThisMachinesOwn) {
  EXPECT_EQ(to_text(parse_listen("9461").value()), "127.0.0.1:9461");
  EXPECT_EQ(to_text(parse_listen(":9461").value()), "127.0.0.1:9461");
  EXPECT_EQ(to_text(parse_listen("0.0.0.0:9461").value()), "0.0.0.0:9461");
  EXPECT_EQ(to_text(parse_listen("[::1]:9461").value()), "[::1]:9461");
  EXPECT_EQ(parse_listen("0").value().port, 0);
  for (const char* bad : {"", ":", "host:", "70000", "a b:1", "-1", "127.0.0.1"})
    EXPECT_TRUE(absl::IsInvalidArgument(parse_listen(bad).status())) << bad;
}

TEST(OperationTest, SigtermUnderLoadEndsInTimeWithEverythingAcknowledgedInTheJournal) {
  RunningCluster cluster({"--keep-deltas"});
  for (int i = 0; i < 3; ++i) cluster.add_worker(0.0005 * (i + 1));
  ASSERT_TRUE(RunningCluster::eventually([&] {
    return acknowledged(cluster, "worker-2").size() > 20;
  })) << cluster.log("worker-2");

  cluster.coordinator().signal(SIGTERM);
  const auto asked = Clock::now();
  EXPECT_EQ(cluster.coordinator().wait(), 0) << cluster.log("coordinator");
  EXPECT_LT(Clock::now() - asked, std::chrono::seconds(5));
  EXPECT_EQ(cluster.logged("coordinator", "stopped").size(), 1u);
  const std::set<int64_t> written = journaled(cluster.run_directory());
  for (const char* worker : {"worker-0", "worker-1", "worker-2"}) {
    for (const int64_t task : acknowledged(cluster, worker))
      EXPECT_TRUE(written.contains(task)) << worker << " task " << task;
  }

  // The workers are still there, and go on with the next one.
  cluster.restart_coordinator();
  const size_t before = acknowledged(cluster, "worker-0").size();
  EXPECT_TRUE(RunningCluster::eventually([&] {
    return acknowledged(cluster, "worker-0").size() > before + 5;
  })) << cluster.log("worker-0");
  for (int i = 0; i < 3; ++i) {
    cluster.worker(static_cast<size_t>(i)).signal(SIGTERM);
    EXPECT_EQ(cluster.worker(static_cast<size_t>(i)).wait(), 0) << cluster.log(cat("worker-", i));
  }
  for (const std::string& secret : cluster.secrets()) {
    const std::string last = secret.substr(secret.rfind('/') + 1);
    for (const char* who : {"coordinator", "worker-0", "worker-1", "worker-2"})
      EXPECT_THAT(cluster.log(who), Not(HasSubstr(last)));
  }
}

TEST(OperationTest, StatusControlAndMonitors) {
  RunningCluster cluster({"--http", "0"});
  cluster.add_worker(0.001);
  cluster.add_worker(0.002);
  ASSERT_TRUE(RunningCluster::eventually([&] { return cluster.status().at("steps") > 200; }));
  const auto status = cluster.status();
  EXPECT_EQ(status.at("state"), "training");
  EXPECT_EQ(status.at("workers").size(), 2u);
  EXPECT_GT(status.at("received_bytes"), 0);
  const auto text = cluster.rubato({"status", cluster.run_directory()});
  EXPECT_THAT(text.text, HasSubstr("training  async-nesterov"));

  const auto listening = cluster.logged("coordinator", "listening");
  ASSERT_EQ(listening.size(), 2u);
  const std::string http = listening[1].at("http");
  EXPECT_THAT(http, StartsWith("127.0.0.1:"));
  EXPECT_THAT(get(http, "/healthz"), StartsWith("HTTP/1.1 200 OK"));
  const std::string metrics = get(http, "/metrics");
  EXPECT_THAT(metrics, HasSubstr("Content-Type: text/plain; version=0.0.4"));
  EXPECT_THAT(metrics, HasSubstr("\nrubato_workers{state=\"lost\"} 0\n"));
  EXPECT_THAT(metrics, HasSubstr("\nrubato_paused 0\n"));

  const auto control = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {"control", cluster.run_directory()});
    return cluster.rubato(words);
  };
  EXPECT_THAT(control({"pause"}).text, StartsWith("paused"));
  ASSERT_TRUE(
      RunningCluster::eventually([&] { return cluster.status().at("tasks_in_flight") == 0; }));
  EXPECT_THAT(get(http, "/metrics"), HasSubstr("\nrubato_paused 1\n"));
  const auto held = cluster.status().at("steps");
  EXPECT_EQ(cluster.status().at("steps"), held);
  EXPECT_THAT(control({"resume"}).text, StartsWith("training"));
  EXPECT_TRUE(RunningCluster::eventually([&] { return cluster.status().at("steps") > held; }));

  const int64_t first = cluster.logged("worker-0", "known").at(0).at("worker");
  EXPECT_EQ(control({"evict", cat(first)}).code, 0);
  EXPECT_EQ(cluster.worker(0).wait(), 1);
  EXPECT_THAT(cluster.log("worker-0"), HasSubstr("evicted by the operator"));
  EXPECT_THAT(control({"evict", "17"}).text, HasSubstr("got worker 17"));
  EXPECT_EQ(control({"evict"}).code, 1);
  EXPECT_EQ(control({"stop"}).code, 2);

  const auto drained = control({"drain"});
  EXPECT_EQ(drained.code, 0) << drained.text;
  EXPECT_THAT(drained.text, HasSubstr("drained"));
  EXPECT_EQ(cluster.coordinator().wait(), 0) << cluster.log("coordinator");
  const auto gone = cluster.rubato({"status", cluster.run_directory()});
  EXPECT_EQ(gone.code, 1);
  EXPECT_THAT(gone.text, HasSubstr("got no running coordinator"));
  EXPECT_EQ(std::ranges::count(gone.text, '\n'), 1);
  // What was drained comes up paused.
  cluster.restart_coordinator();
  EXPECT_EQ(cluster.status().at("state"), "paused");
}

TEST(OperationTest, RevokingAWorkerEndsItsSession) {
  RunningCluster cluster;
  cluster.add_worker(0.001);
  cluster.add_worker(0.001);
  ASSERT_TRUE(
      RunningCluster::eventually([&] { return cluster.status().at("workers").size() == 2; }));
  ASSERT_TRUE(
      RunningCluster::eventually([&] { return !acknowledged(cluster, "worker-1").empty(); }));
  const int64_t number = cluster.logged("worker-0", "known").at(0).at("worker");
  const auto revoked =
      cluster.rubato({"workers", cluster.run_directory(), "--revoke", cat(number)});
  EXPECT_EQ(revoked.code, 0) << revoked.text;
  EXPECT_EQ(cluster.worker(0).wait(), 1) << cluster.log("worker-0");
  const size_t before = acknowledged(cluster, "worker-1").size();
  EXPECT_TRUE(RunningCluster::eventually(
      [&] { return acknowledged(cluster, "worker-1").size() > before; }));
  ASSERT_TRUE(RunningCluster::eventually([&] {
    const auto lost = cluster.logged("coordinator", "lost");
    return !lost.empty() && lost[0].at("worker") == number;
  }));
}

// As after a power cut, when machines come up in any order.
TEST(OperationTest, AWorkerMayBeThereBeforeItsCoordinator) {
  RunningCluster cluster;
  cluster.add_worker(0.001);
  ASSERT_TRUE(
      RunningCluster::eventually([&] { return !acknowledged(cluster, "worker-0").empty(); }));
  cluster.worker(0).signal(SIGTERM);
  EXPECT_EQ(cluster.worker(0).wait(), 0) << cluster.log("worker-0");
  cluster.coordinator().signal(SIGTERM);
  EXPECT_EQ(cluster.coordinator().wait(), 0) << cluster.log("coordinator");

  std::ofstream(cluster.path("join")) << cluster.secrets().at(0) << "\n";
  const std::string command =
      cat("exec '", RUBATO_BINARY_DIR, "/rubato' worker --join-file - --dir '",
          cluster.path("worker-0"), "' --threads 1 --min-step-s 0.001 ", "--log-format json < '",
          cluster.path("join"), "'");
  Process again = Process::of({"sh", "-c", command}, cluster.path("again.txt"));
  ASSERT_TRUE(RunningCluster::eventually([&] { return !cluster.logged("again", "cut").empty(); }))
      << cluster.log("again");
  cluster.restart_coordinator();
  EXPECT_TRUE(RunningCluster::eventually([&] { return !acknowledged(cluster, "again").empty(); }))
      << cluster.log("again");
  EXPECT_EQ(cluster.logged("again", "cut").size(), 1u);
  EXPECT_EQ(cluster.logged("again", "known").at(0).at("worker"), 0);
  again.signal(SIGTERM);
  EXPECT_EQ(again.wait(), 0) << cluster.log("again");
}

TEST(OperationTest, AStopWhilePretrainingIsAStop) {
  TemporaryDirectory directory;
  const std::string run = directory.path() + "/run", output = directory.path() + "/said";
  const std::string recipe = std::string(RUBATO_SOURCE_DIR) + "/recipes/tiny-quadratic.toml";
  Process coordinator({"coordinator", recipe, "--set", "pretrain.steps=1000000000", "--out", run,
                       "--listen", "127.0.0.1:0", "--log-format", "json"},
                      output);
  ASSERT_TRUE(RunningCluster::eventually(
      [&] { return !contents(run + "/pretraining/metrics.jsonl").empty(); }));
  coordinator.signal(SIGTERM);
  EXPECT_EQ(coordinator.wait(), 0) << contents(output);
  EXPECT_THAT(contents(output), HasSubstr("stopped; the same command goes on"));
}

// A recipe may pretrain for hours before its monitors are served.
TEST(OperationTest, WhatIsUsedLaterIsCheckedAtOnce) {
  TemporaryDirectory directory;
  const std::string output = directory.path() + "/said";
  for (const std::vector<std::string>& wrong : {std::vector<std::string>{"--http", "9x"},
                                                {"--host", "no host"},
                                                {"--listen", "127.0.0.1"}}) {
    std::vector<std::string> args = {
        "coordinator", std::string(RUBATO_SOURCE_DIR) + "/recipes/tiny-quadratic.toml", "--out",
        directory.path() + "/run"};
    args.insert(args.end(), wrong.begin(), wrong.end());
    EXPECT_EQ(Process(args, output).wait(), 1);
    EXPECT_EQ(std::ranges::count(contents(output), '\n'), 1) << contents(output);
  }
}

// Certificates of three seconds: the worker outlives several, over one session.
TEST(OperationTest, AWorkerOutlivesItsCertificate) {
  RunningCluster cluster({"--certificate-hours", "0.001"});
  cluster.add_worker(0.002);
  const auto began = Clock::now();
  ASSERT_TRUE(RunningCluster::eventually([&] {
    return cluster.logged("worker-0", "certificate").size() >= 3;
  })) << cluster.log("worker-0");
  ASSERT_GT(Clock::now() - began, std::chrono::seconds(4));
  const size_t before = acknowledged(cluster, "worker-0").size();
  EXPECT_TRUE(RunningCluster::eventually([&] {
    return acknowledged(cluster, "worker-0").size() > before + 10;
  })) << cluster.log("worker-0");
  EXPECT_EQ(cluster.logged("coordinator", "joined").size(), 1u);
  EXPECT_TRUE(cluster.logged("coordinator", "lost").empty());
  cluster.worker(0).signal(SIGTERM);
  EXPECT_EQ(cluster.worker(0).wait(), 0) << cluster.log("worker-0");
}

}  // namespace
}  // namespace rubato

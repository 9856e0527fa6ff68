// Coordinator and worker with certificates of somebody else's PKI, and in plain text with a token.
#include <csignal>
#include <ctime>
#include <filesystem>

#include "tests/app/cluster_rig.h"
#include "tests/rpc/given_pki.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rubato/store/posix_file_system.h"

namespace rubato {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class GivenPkiProcess : public testing::Test {
 protected:
  GivenPkiProcess() {
    put("ca.pem", pki_.authority_pem());
    put("stranger.pem", GivenPki(std::time(nullptr)).authority_pem());
    write("server", CertificateRole::kServer);
  }
  std::string path(const std::string& name) const { return directory_.path() + "/" + name; }
  void put(const std::string& name, const std::string& text) {
    PosixFileSystem files;
    ASSERT_TRUE(files.replace_private_file(path(name), text).ok());
  }
  void write(const std::string& name, CertificateRole role) {
    const GivenPki::Issued issued = pki_.issue(role, name, std::time(nullptr), GivenKey::kRsa);
    put(name + ".pem", issued.certificate_pem);
    put(name + ".key", issued.key_pem);
  }
  std::vector<std::string> flags(const std::string& name, const std::string& ca = "ca") const {
    return {"--tls-cert",        path(name + ".pem"), "--tls-key",
            path(name + ".key"), "--tls-ca",          path(ca + ".pem")};
  }
  std::vector<std::string> worker(const RunningCluster& cluster, const std::string& name,
                                  std::vector<std::string> more) const {
    std::string address = contents(cluster.path("run/address"));
    address.pop_back();
    std::vector<std::string> args = {"worker",       address, "--dir",        path(name),
                                     "--threads",    "1",     "--min-step-s", "0.001",
                                     "--log-format", "json",  "--patience-s", "20"};
    args.insert(args.end(), more.begin(), more.end());
    return args;
  }

  TemporaryDirectory directory_;
  GivenPki pki_{std::time(nullptr)};
};

TEST_F(GivenPkiProcess, AWorkerIsItsKeyAndCanBeRevoked) {
  RunningCluster cluster(flags("server"));
  write("gpu-1", CertificateRole::kClient);
  Process process(worker(cluster, "gpu-1", flags("gpu-1")), path("gpu-1.txt"));
  ASSERT_TRUE(RunningCluster::eventually([&] {
    return contents(path("gpu-1.txt")).find("\"applied\"") != std::string::npos;
  })) << contents(path("gpu-1.txt"));
  process.signal(SIGTERM);
  ASSERT_EQ(process.wait(), 0) << contents(path("gpu-1.txt"));
  EXPECT_THAT(cluster.rubato({"workers", cluster.run_directory()}).text, HasSubstr("gpu-1"));

  Process again(worker(cluster, "gpu-1", flags("gpu-1")), path("again.txt"));
  ASSERT_TRUE(RunningCluster::eventually([&] {
    return contents(path("again.txt")).find("\"applied\"") != std::string::npos;
  })) << contents(path("again.txt"));
  EXPECT_EQ(cluster.status().at("workers").size(), 1u) << "the same key is the same worker";
  EXPECT_EQ(cluster.rubato({"workers", cluster.run_directory(), "--revoke", "0"}).code, 0);
  EXPECT_EQ(again.wait(), 1) << contents(path("again.txt"));
  Process refused(worker(cluster, "gpu-1", flags("gpu-1")), path("refused.txt"));
  EXPECT_EQ(refused.wait(), 1);
  EXPECT_THAT(contents(path("refused.txt")), HasSubstr("revoked"));
}

TEST_F(GivenPkiProcess, ACertificateOfNobodyIsTurnedAway) {
  RunningCluster cluster(flags("server"));
  write("gpu-1", CertificateRole::kClient);
  Process mistrusting(worker(cluster, "gpu-1", flags("gpu-1", "stranger")), path("1.txt"));
  EXPECT_EQ(mistrusting.wait(), 1) << "it wants another authority's coordinator";
  pki_ = GivenPki(std::time(nullptr));
  write("gpu-2", CertificateRole::kClient);
  Process stranger(worker(cluster, "gpu-2", flags("gpu-2")), path("2.txt"));
  EXPECT_EQ(stranger.wait(), 1) << "its certificate is another authority's";
  EXPECT_THAT(cluster.rubato({"workers", cluster.run_directory()}).text,
              HasSubstr("no worker has joined yet"));
}

TEST_F(GivenPkiProcess, WrongFilesAreALineAtTheStart) {
  const auto refused = [&](const std::vector<std::string>& more, const std::string& words) {
    std::vector<std::string> args = {
        "coordinator", std::string(RUBATO_SOURCE_DIR) + "/recipes/tiny-quadratic.toml",
        "--out",       path("run"),
        "--listen",    "127.0.0.1:0"};
    args.insert(args.end(), more.begin(), more.end());
    EXPECT_NE(Process(args, path("refused.txt")).wait(), 0);
    EXPECT_THAT(contents(path("refused.txt")), HasSubstr(words));
    EXPECT_FALSE(std::filesystem::exists(path("run"))) << "nothing was begun";
  };
  refused({"--tls-cert", path("server.pem")}, "[tls] got 1 of --tls-cert, --tls-key and --tls-ca");
  refused(flags("nobody"), "--tls-cert");
  refused(flags("server", "server"), "got a certificate that may not sign others");
  std::vector<std::string> both = flags("server");
  both.emplace_back("--insecure");
  refused(both, "--insecure");
}

// In plain text a worker that is started again needs neither its invitation nor a new token.
TEST(Insecure, AWorkerKeepsTheTokenOfItsEnrolment) {
  RunningCluster cluster({"--insecure"});
  cluster.add_worker(0.001, {"--insecure"});
  const auto has_worked = [&](size_t times) {
    return RunningCluster::eventually(
        [&] { return cluster.logged("coordinator", "joined").size() == times; });
  };
  ASSERT_TRUE(has_worked(1)) << cluster.log("worker-0");
  cluster.worker(0).signal(SIGTERM);
  ASSERT_EQ(cluster.worker(0).wait(), 0) << cluster.log("worker-0");
  const std::string kept = contents(cluster.path("worker-0/worker.token"));
  const std::string table = contents(cluster.path("run/admission.json"));
  ASSERT_THAT(kept, testing::StartsWith("0 "));
  EXPECT_THAT(table, Not(HasSubstr(kept.substr(2, 32))));

  Process again({"worker", cluster.secrets().at(0), "--dir", cluster.path("worker-0"), "--threads",
                 "1", "--min-step-s", "0.001", "--insecure"},
                cluster.path("again.txt"));
  ASSERT_TRUE(has_worked(2)) << contents(cluster.path("again.txt"));
  EXPECT_EQ(contents(cluster.path("worker-0/worker.token")), kept);
  EXPECT_EQ(contents(cluster.path("run/admission.json")), table) << "nothing was asked for";
  again.signal(SIGTERM);
  EXPECT_EQ(again.wait(), 0) << contents(cluster.path("again.txt"));
}

}  // namespace
}  // namespace rubato

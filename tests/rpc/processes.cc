#include "tests/rpc/processes.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <iterator>
#include <sstream>
#include <thread>

#include "tests/rpc/actors/scene.h"
#include "tests/rpc/cluster_rig.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rubato/rpc/enrolment.h"
#include "rubato/rpc/worker_key.h"

extern char** environ;

namespace rubato {
namespace {

constexpr Nanos kPatience = 120 * kNanosPerSecond;
constexpr auto kGlance = std::chrono::milliseconds(5);

// A port of loopback that is free now. Not one that the system gives to clients: one of them might
// get it while the coordinator is down, or even reach itself there.
int free_port() {
  for (int port = 20'000 + ::getpid() % 10'000;; ++port) {
    const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const bool free = ::bind(socket, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    ::close(socket);
    if (free) return port;
  }
}

std::set<int64_t> numbers_of(const std::string& text) {
  std::set<int64_t> numbers;
  std::istringstream words(text);
  for (int64_t number = 0; words >> number;) {
    EXPECT_TRUE(numbers.insert(number).second) << number << " is there twice";
  }
  return numbers;
}

}  // namespace

// ---- one process

Process::Process(const std::vector<std::string>& words, const std::string& log) {
  std::vector<std::string> copy = words;
  copy.insert(copy.begin(), RUBATO_CLUSTER_ACTOR);
  std::vector<char*> argv;
  for (std::string& word : copy) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  EXPECT_EQ(::posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ), 0);
  posix_spawn_file_actions_destroy(&actions);
}

Process::~Process() {
  if (ended()) return;
  signal(SIGKILL);
  wait();
}

void Process::signal(int number) { EXPECT_EQ(::kill(pid_, number), 0); }

std::optional<Exit> Process::ended() {
  int status = 0;
  if (!exit_ && ::waitpid(pid_, &status, WNOHANG) == pid_)
    exit_ = Exit{WIFEXITED(status) ? WEXITSTATUS(status) : 0,
                 WIFSIGNALED(status) ? WTERMSIG(status) : 0};
  return exit_;
}

Exit Process::wait() {
  while (!ended()) std::this_thread::sleep_for(kGlance);
  return *exit_;
}

// ---- all of them

ClusterProcesses::ClusterProcesses(const std::string& name, Facts words, int workers)
    : words_(std::move(words)), directory_(fresh_directory(name)), workers_(workers) {
  std::filesystem::create_directories(directory_);
  words_["directory"] = directory_;
  words_["workers"] = cat(workers);
  words_["listen"] = cat("127.0.0.1:", free_port());
  enrol_workers(workers);
}

ClusterProcesses::~ClusterProcesses() {
  coordinator_.reset();
  workers_.clear();
  if (!testing::Test::HasFailure()) std::filesystem::remove_all(directory_);
}

void ClusterProcesses::enrol_workers(int workers) {
  PosixFileSystem files;
  const Authority authority = Authority::create_or_load(files, directory_, kSceneNow).value();
  const auto admission = Admission::open(files, directory_).value();
  for (int i = 0; i < workers; ++i) {
    const WorkerKey key = WorkerKey::create_or_load(files, path(cat("key-", i))).value();
    const auto invited = admission->invite(kSceneNow, 3600, "test").value();
    const Enrolled enrolled = enrol_worker(authority, *admission, invited.secret.reveal(),
                                           key.request_pem().value(), kSceneNow)
                                  .value();
    EXPECT_EQ(enrolled.worker.value(), i);
    tokens_.push_back(admission->draw_token(enrolled.worker).value().reveal());
  }
}

std::vector<std::string> ClusterProcesses::words_of(const std::string& role,
                                                    const std::string& fault) const {
  std::vector<std::string> words = {role, cat("fault=", fault)};
  for (const auto& [key, value] : words_) words.push_back(cat(key, "=", value));
  return words;
}

void ClusterProcesses::start_coordinator(const std::string& fault) {
  std::filesystem::remove(path("result"));
  listened_before_ = times_listening();
  coordinator_ = std::make_unique<Process>(words_of("coordinator", fault), path("coordinator.log"));
}

void ClusterProcesses::start_worker(int worker, const std::string& fault) {
  const auto index = static_cast<size_t>(worker);
  std::vector<std::string> words = words_of("worker", fault);
  words.push_back(cat("worker=", worker));
  words.push_back(cat("token=", tokens_[index]));
  words.push_back(cat("min_step_us=", 1000 + 700 * worker));  // unequal machines
  workers_[index] = std::make_unique<Process>(words, path(cat("worker-", worker, ".log")));
}

void ClusterProcesses::start_workers() {
  for (int i = 0; i < num_workers(); ++i) start_worker(i);
}

int64_t ClusterProcesses::times_listening() const {
  return std::ranges::count(lines("coordinator.log"), "listening");
}

bool ClusterProcesses::wait_until_listening() {
  return wait_until("a coordinator", [&] { return times_listening() > listened_before_; });
}

void ClusterProcesses::kill_coordinator() {
  coordinator_->signal(SIGKILL);
  coordinator_->wait();
}

void ClusterProcesses::kill_workers() {
  for (const auto& worker : workers_) {
    worker->signal(SIGKILL);
    worker->wait();
  }
}

Facts ClusterProcesses::stop_coordinator() {
  coordinator_->signal(SIGTERM);
  return wait_for_result();
}

Facts ClusterProcesses::wait_for_result() {
  const Exit exit = coordinator_->wait();
  EXPECT_TRUE(exit.code == 0 && exit.signal == 0) << last_words();
  return facts_of_lines(join(lines("result"), "\n"));
}

Facts ClusterProcesses::replay() {
  const Exit exit = Process(words_of("replay", ""), path("replay.log")).wait();
  EXPECT_TRUE(exit.code == 0 && exit.signal == 0) << join(lines("replay.log"), "\n");
  return facts_of_lines(join(lines("replay"), "\n"));
}

// ---- what they have left

std::string ClusterProcesses::path(const std::string& name) const {
  return join_path(directory_, name);
}

std::vector<std::string> ClusterProcesses::lines(const std::string& name) const {
  PosixFileSystem files;
  const auto text = files.read_file(path(name));
  std::vector<std::string> lines;
  std::istringstream stream(text.ok() ? *text : "");
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::set<int64_t> ClusterProcesses::acknowledged(int worker) const {
  std::set<int64_t> tasks;
  for (const std::string& line : lines(cat("verdicts-", worker))) {
    if (line.ends_with(" applied")) tasks.insert(std::stoll(line.substr(line.find('=') + 1)));
  }
  return tasks;
}

std::set<int64_t> ClusterProcesses::acknowledged() const {
  std::set<int64_t> tasks;
  for (int i = 0; i < num_workers(); ++i) tasks.merge(acknowledged(i));
  return tasks;
}

std::string ClusterProcesses::last_words() const {
  std::string text;
  for (int i = -1; i < num_workers(); ++i) {
    const std::string name = i < 0 ? "coordinator.log" : cat("worker-", i, ".log");
    const std::vector<std::string> all = lines(name);
    text += cat("--- ", name, "\n");
    for (size_t k = all.size() - std::min<size_t>(all.size(), 6); k < all.size(); ++k)
      text += cat(all[k], "\n");
  }
  return text;
}

bool ClusterProcesses::wait_until(const std::string& what, const std::function<bool()>& done) {
  const Nanos until = steady_now() + kPatience;
  while (!done()) {
    if (testing::Test::HasFailure()) return false;
    if (steady_now() > until) {
      ADD_FAILURE() << "never came: " << what << "\n" << last_words();
      return false;
    }
    std::this_thread::sleep_for(kGlance);
  }
  return true;
}

bool ClusterProcesses::wait_for_progress(int64_t more) {
  const int64_t before = std::ssize(acknowledged());
  return wait_until(cat(more, " more updates"),
                    [&] { return std::ssize(acknowledged()) >= before + more; });
}

void expect_same_state(const Facts& result, const Facts& replayed) {
  for (const char* key : {"state_digest", "effects_digest", "steps", "arrivals"})
    EXPECT_EQ(text_of(replayed, key), text_of(result, key)) << key;
  EXPECT_EQ(text_of(replayed, "ledger_balanced"), "true");
  EXPECT_EQ(text_of(replayed, "sequences_assigned"), text_of(result, "sequences_in_flight"));
  EXPECT_EQ(text_of(replayed, "sequences_applied"), text_of(result, "steps"));
}

void expect_applied(const Facts& facts, const std::set<int64_t>& acknowledged) {
  const std::set<int64_t> applied = numbers_of(text_of(facts, "applied"));
  EXPECT_EQ(cat(applied.size()), text_of(facts, "arrivals"));
  EXPECT_FALSE(acknowledged.empty());
  std::vector<int64_t> lost;
  std::ranges::set_difference(acknowledged, applied, std::back_inserter(lost));
  EXPECT_TRUE(lost.empty()) << "acknowledged and lost: tasks " << join(lost, ", ");
}

}  // namespace rubato

// A cluster of real processes over real gRPC, killed (kill -9) again and again in the middle of
// everything that has to survive it. DESIGN.md 3: after a crash no acknowledged event is lost, and
// the final state is the one that a process of its own finds in journal and deltas.
#include <algorithm>
#include <csignal>
#include <deque>
#include <map>

#include "tests/rpc/actors/scene.h"
#include "tests/rpc/actors/trap.h"
#include "tests/rpc/processes.h"
#include <gtest/gtest.h>

#include "rubato/base/rng.h"

namespace rubato {
namespace {

constexpr int kWorkers = 4;
constexpr int64_t kOutOfSight = 6000;  // [local steps] more than come about between the kills
// From outside, at some moment.
constexpr char kCoordinatorAnywhere[] = "coordinator.anywhere",
               kWorkerAnywhere[] = "worker.anywhere";

// A phase, and which of its first occurrences in a process's life may be the last.
struct Phase {
  const char* name;
  uint64_t latest;
};
constexpr Phase kCoordinatorPhases[] = {
    {phase::kMidUpload, 4},       {phase::kSpoolToJournal, 3}, {phase::kMidJournal, 3},
    {phase::kJournalToEffect, 3}, {phase::kMidSnapshot, 14},   {phase::kMidTrim, 4},
    {phase::kMidDownload, 3},     {kCoordinatorAnywhere, 400},
};
constexpr Phase kWorkerPhases[] = {
    {phase::kWorkerDownload, 2}, {phase::kWorkerTraining, 12}, {phase::kWorkerUpload, 2},
    {phase::kWorkerPushed, 2},   {phase::kWorkerAnswered, 2},  {kWorkerAnywhere, 400},
};

bool is_from_outside(std::string_view fault) {
  return fault.starts_with(kCoordinatorAnywhere) || fault.starts_with(kWorkerAnywhere);
}

// Deaths of one process, one after another. After the last one it lives.
class Victim {
 public:
  Victim(std::function<void(const std::string&)> start, std::function<Process&()> process)
      : start_(std::move(start)), process_(std::move(process)) {}

  void add_death(const std::string& fault) { deaths_.push_back(fault); }
  bool is_through() const { return deaths_.empty(); }
  const std::deque<std::string>& deaths() const { return deaths_; }

  void start() {
    const std::string fault = deaths_.empty() ? "" : deaths_.front();
    start_(is_from_outside(fault) ? "" : fault);
    if (!is_from_outside(fault)) return;
    // [ms] of life
    kill_at_ = steady_now() + std::stoll(fault.substr(fault.find(':') + 1)) * 1'000'000;
  }

  // Kills it from outside when that is due, and starts it again when it is dead.
  void look_after(std::map<std::string, int>& killed) {
    if (kill_at_ > 0 && steady_now() >= kill_at_ && !process_().ended()) {
      kill_at_ = 0;
      process_().signal(SIGKILL);
      process_().wait();
    }
    const std::optional<Exit> exit = process_().ended();
    if (!exit) return;
    EXPECT_EQ(exit->signal, SIGKILL) << "it ended by itself, with exit code " << exit->code;
    EXPECT_FALSE(deaths_.empty());
    if (testing::Test::HasFailure()) return;
    const std::string fault = deaths_.front();
    ++killed[fault.substr(0, fault.find(':'))];
    deaths_.pop_front();
    start();
  }

 private:
  std::function<void(const std::string&)> start_;
  std::function<Process&()> process_;
  std::deque<std::string> deaths_;  // "PHASE:N"
  Nanos kill_at_ = 0;
};

// Victims 0: the coordinator; 1..: the workers.
std::vector<Victim> victims_of(ClusterProcesses& cluster) {
  std::vector<Victim> victims;
  victims.emplace_back([&](const std::string& fault) { cluster.start_coordinator(fault); },
                       [&]() -> Process& { return cluster.coordinator(); });
  for (int i = 0; i < cluster.num_workers(); ++i) {
    victims.emplace_back(
        [&cluster, i](const std::string& fault) { cluster.start_worker(i, fault); },
        [&cluster, i]() -> Process& { return cluster.worker(i); });
  }
  return victims;
}

// Each phase so often, in an order of the seed's, dealt out to `victims`.
void plan_deaths(std::span<Victim> victims, std::span<const Phase> phases, int times, Rng& draws) {
  std::vector<std::string> deaths;
  for (const Phase& phase : phases) {
    for (int i = 0; i < times; ++i)
      deaths.push_back(cat(phase.name, ":", 1 + draws.below(phase.latest)));
  }
  for (size_t i = deaths.size(); i > 1; --i) std::swap(deaths[i - 1], deaths[draws.below(i)]);
  for (size_t i = 0; i < deaths.size(); ++i) victims[i % victims.size()].add_death(deaths[i]);
}

// Until every death was died; how often each phase was hit.
std::map<std::string, int> kill_them_all(ClusterProcesses& cluster, std::vector<Victim>& victims) {
  std::map<std::string, int> killed;
  for (Victim& victim : victims) victim.start();
  const bool done = cluster.wait_until("the last death", [&] {
    for (Victim& victim : victims) victim.look_after(killed);
    return std::ranges::all_of(victims, &Victim::is_through);
  });
  for (const Victim& victim : victims) {
    if (!done && !victim.is_through()) ADD_FAILURE() << "missed: " << join(victim.deaths(), ", ");
  }
  return killed;
}

// Says what was covered, and fails for a phase that was not.
void expect_coverage(const ClusterProcesses& cluster, const std::map<std::string, int>& killed,
                     std::span<const Phase> phases, int times) {
  const std::vector<std::string> landed = cluster.lines("kills");
  for (const Phase& phase : phases) {
    const std::string name = phase.name;
    const auto found = killed.find(name);
    const int deaths = found == killed.end() ? 0 : found->second;
    std::printf("  %-40s %d\n", phase.name, deaths);
    testing::Test::RecordProperty(name, deaths);
    EXPECT_GE(deaths, times) << "missed: " << name;
    // What the process itself wrote before it died.
    if (is_from_outside(name)) continue;
    EXPECT_EQ(std::ranges::count(landed, name), deaths) << name;
  }
}

struct Plan {
  const char* name;
  const char* overlap;
  const char* link;  // in front of the outer rule
  int times;         // that each phase is hit
};
constexpr Plan kPlain{"plain", "none", "", 3};
static_assert(kPlain.times * (std::size(kCoordinatorPhases) + std::size(kWorkerPhases)) >= 30);
void PrintTo(const Plan& plan, std::ostream* out) { *out << plan.name; }
class KillTest : public testing::TestWithParam<Plan> {};

TEST_P(KillTest, NothingThatWasAcknowledgedIsLost) {
  const auto& [name, overlap, link, times] = GetParam();
  ClusterProcesses cluster(
      cat("kill-", name),
      {{"gate", "grace"}, {"overlap", overlap}, {"link", link}, {"budget_steps", cat(kOutOfSight)}},
      kWorkers);
  std::vector<Victim> victims = victims_of(cluster);
  Rng draws(20, RngStream::kTest);
  plan_deaths(std::span(victims).first(1), kCoordinatorPhases, times, draws);
  plan_deaths(std::span(victims).subspan(1), kWorkerPhases, times, draws);
  const std::map<std::string, int> killed = kill_them_all(cluster, victims);
  expect_coverage(cluster, killed, kCoordinatorPhases, times);
  expect_coverage(cluster, killed, kWorkerPhases, times);
  ASSERT_FALSE(HasFailure());

  // In mid-run.
  ASSERT_TRUE(cluster.wait_for_progress(kWorkers));
  const Facts stopped = cluster.stop_coordinator();
  ASSERT_EQ(text_of(stopped, "end"), "stopped");
  expect_same_state(stopped, cluster.replay());

  // Nothing has depended on the budget until here. Now it ends the run.
  const int64_t budget = integer_of(stopped, "steps", 0) + 200;
  cluster.set_word("budget_steps", cat(budget));
  cluster.start_coordinator();
  const Facts finished = cluster.wait_for_result();
  EXPECT_EQ(text_of(finished, "end"), "finished");
  EXPECT_GE(integer_of(finished, "steps", 0), budget);
  const Facts replayed = cluster.replay();
  EXPECT_EQ(text_of(replayed, "first_record"), "0");
  expect_same_state(finished, replayed);
  expect_applied(replayed, cluster.acknowledged());
  EXPECT_EQ(text_of(replayed, "applied"), text_of(finished, "applied"));
}

// Two tasks a worker, and a rule that wants to see the version that a task started from.
constexpr Plan kDemanding{"demanding", "full", "delay_compensation", 2};
INSTANTIATE_TEST_SUITE_P(Plans, KillTest, testing::Values(kPlain, kDemanding),
                         [](const auto& plan) { return std::string(plan.param.name); });

// Where no delta is kept, what a snapshot makes superfluous is removed for good. A free gate and a
// long lease: without workers no event comes.
TEST(KillTrimTest, TakesNothingThatIsNeeded) {
  constexpr Phase kPhases[] = {
      {phase::kMidTrim, 6}, {phase::kMidSnapshot, 14}, {phase::kJournalToEffect, 3}};
  constexpr int kTimes = 3;
  ClusterProcesses cluster("trim",
                           {{"gate", "free"},
                            {"keep_deltas", "0"},
                            {"lease_ms", "60000"},
                            {"budget_steps", cat(kOutOfSight)}},
                           kWorkers);
  std::vector<Victim> victims = victims_of(cluster);
  Rng draws(21, RngStream::kTest);
  plan_deaths(std::span(victims).first(1), kPhases, kTimes, draws);
  const std::map<std::string, int> killed = kill_them_all(cluster, victims);
  expect_coverage(cluster, killed, kPhases, kTimes);
  ASSERT_TRUE(cluster.wait_for_progress(10));

  // The state that a crash leaves is the one of the last acknowledged event.
  cluster.kill_coordinator();
  cluster.kill_workers();
  const Facts replayed = cluster.replay();
  EXPECT_GT(integer_of(replayed, "first_record", 0), 0);
  cluster.start_coordinator();
  ASSERT_TRUE(cluster.wait_until_listening());
  const Facts recovered = cluster.stop_coordinator();
  expect_same_state(recovered, replayed);
  expect_applied(recovered, cluster.acknowledged());

  cluster.set_word("budget_steps", cat(integer_of(recovered, "steps", 0) + 100));
  cluster.start_coordinator();
  cluster.start_workers();
  const Facts finished = cluster.wait_for_result();
  EXPECT_EQ(text_of(finished, "end"), "finished");
  expect_same_state(finished, cluster.replay());
  expect_applied(finished, cluster.acknowledged());
}

}  // namespace
}  // namespace rubato

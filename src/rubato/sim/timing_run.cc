#include "rubato/sim/timing_run.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace rubato {
namespace {

// More local steps than any window holds: nothing of a plan is the end of a run.
constexpr int64_t kEndless = int64_t{1} << 50;

}  // namespace

double TimingFigures::tokens_per_s() const { return window > 0 ? tokens / to_seconds(window) : 0; }

double TimingFigures::utilisation() const { return tokens_per_s() / ideal_tokens_per_s; }

double TimingFigures::staleness_mean() const {
  double sum = 0;
  for (size_t i = 0; i < staleness.size(); ++i)
    sum += static_cast<double>(i) * static_cast<double>(staleness[i]);
  return arrivals > 0 ? sum / static_cast<double>(arrivals) : 0;
}

int64_t TimingFigures::staleness_quantile(double q) const {
  const auto wanted = static_cast<int64_t>(std::ceil(q * static_cast<double>(arrivals)));
  int64_t seen = 0;
  for (size_t i = 0; i < staleness.size(); ++i) {
    seen += staleness[i];
    if (seen >= wanted) return static_cast<int64_t>(i);
  }
  return 0;
}

StatusOr<std::unique_ptr<TimingRun>> TimingRun::make(SimulationConfig config,
                                                     const ModelFacts& model) {
  config.coordinator.budget_steps = config.coordinator.schedule_steps = kEndless;
  config.coordinator.save_every_steps.reset();
  config.coordinator.door.norm_action = NormAction::kOff;
  for (SimWorker& worker : config.fleet) {
    worker.join_at = 0;
    worker.leave_at.reset();
    worker.return_at.reset();
  }
  // An empty layout: the chain says how many arrivals make an outer step, and never makes one.
  RUBATO_ASSIGN_OR_RETURN(PreparedSimulation prepared,
                          prepare_simulation(std::move(config), model, Layout()));
  std::unique_ptr<TimingRun> run(new TimingRun(std::move(prepared)));
  run->tokens_per_step_ = run->prepared_.config.worker.batch_sequences * model.tokens_per_sequence;
  const SimulationConfig& c = run->prepared_.config;
  for (const SimWorker& worker : c.stands_for.empty() ? c.fleet : c.stands_for) {
    run->figures_.ideal_tokens_per_s += static_cast<double>(run->tokens_per_step_) /
                                        static_cast<double>(run->real_workers()) /
                                        to_seconds(worker.ns_per_step);
  }
  return run;
}

TimingRun::TimingRun(PreparedSimulation prepared)
    : prepared_(std::move(prepared)),
      clockwork_(prepared_.config.fleet, prepared_.config.coordinator.overlap, prepared_.payload),
      workers_(prepared_.config.fleet.size()) {}

// That one simulated worker stands for.
int64_t TimingRun::real_workers() const {
  return std::max<int64_t>(std::ssize(prepared_.config.stands_for), 1);
}

// Of parameters and of gradients, in a task: k x batch makes one a step for everybody.
int64_t TimingRun::exchanges(int64_t steps) const {
  return prepared_.config.stands_for.empty() ? 1 : steps * real_workers();
}

Nanos TimingRun::longest_task() const {
  const SimulationConfig& config = prepared_.config;
  Nanos longest = 0;
  for (const SimWorker& worker : config.fleet) {
    WorkerClock clock(worker.link, worker.ns_per_step, Overlap::kNone, prepared_.payload);
    longest = std::max(longest, clock.plan(0, config.coordinator.local_steps).arrives);
  }
  return longest;
}

TimingFigures TimingRun::run_until(Nanos end, int64_t most_dispatches) {
  const int64_t last = most_dispatches > std::numeric_limits<int64_t>::max() - dispatches_
                           ? std::numeric_limits<int64_t>::max()
                           : dispatches_ + most_dispatches;
  figures_ = {.ideal_tokens_per_s = figures_.ideal_tokens_per_s};
  measured_from_ = now_;
  const int64_t first_version = coordinator().counts().version;
  while (dispatches_ < last && clockwork_.next().at <= end) {
    const Clockwork::Entry entry = clockwork_.take();
    now_ = entry.at;
    effects_.clear();
    prepared_.machine.coordinator->step(now_, event_of(entry), effects_);
    follow(effects_);
    // Training starts once everybody is there.
    if (!started_ && (clockwork_.empty() || clockwork_.next().at > now_)) {
      started_ = true;
      effects_.clear();
      prepared_.machine.coordinator->step(now_, Start{}, effects_);
      follow(effects_);
    }
  }
  figures_.window = now_ - measured_from_;
  figures_.versions = coordinator().counts().version - first_version;
  // What is still on its way has trained until now, too.
  for (const Worker& worker : workers_) {
    for (size_t i = 0; i < worker.in_flight; ++i) add_training(worker.flights[i], now_);
  }
  return figures_;
}

Event TimingRun::event_of(const Clockwork::Entry& entry) {
  if (entry.kind != Clockwork::Kind::kArrival) return clockwork_.event_of(entry);
  Worker& worker = workers_[static_cast<size_t>(entry.who)];
  const Flight flight = worker.flights[0];
  RUBATO_CHECK(flight.task == entry.task, "deltas of a worker come in the order of its tasks");
  std::ranges::rotate(worker.flights, worker.flights.begin() + 1);
  --worker.in_flight;
  add_training(flight, now_);
  figures_.bytes_up += exchanges(flight.steps) * prepared_.payload.up_bytes;
  figures_.bytes_down += exchanges(flight.steps) * prepared_.payload.down_bytes;
  const Nanos ns_per_step = prepared_.config.fleet[static_cast<size_t>(entry.who)].ns_per_step;
  return UpdateArrived{.worker = WorkerId(entry.who),
                       .task = entry.task,
                       .steps_done = flight.steps,
                       .tokens = flight.steps * tokens_per_step_,
                       .train_ns = flight.steps * ns_per_step};
}

void TimingRun::follow(const Effects& effects) {
  for (const Effect& effect : effects) {
    if (const auto* next = std::get_if<Dispatch>(&effect)) {
      Worker& worker = workers_[static_cast<size_t>(next->task.worker.value())];
      worker.flights[worker.in_flight++] = {next->task.id, next->task.steps,
                                            clockwork_.dispatch(next->task, now_)};
      ++dispatches_;
    } else if (const auto* apply = std::get_if<Apply>(&effect)) {
      count(apply->staleness, std::ssize(apply->members));
    } else if (const auto* discard = std::get_if<Discard>(&effect)) {
      count(discard->staleness, 1);
      ++figures_.discarded;
    } else if (const auto* timer = std::get_if<SetTimer>(&effect)) {
      clockwork_.set_timer(*timer);
    }
  }
}

void TimingRun::count(int64_t staleness, int64_t arrivals) {
  const auto place = static_cast<size_t>(staleness);
  if (place >= figures_.staleness.size()) figures_.staleness.resize(place + 1);
  figures_.staleness[place] += arrivals;
  figures_.arrivals += arrivals;
}

// The part of a task's local steps that lies in the window up to `until`.
void TimingRun::add_training(const Flight& flight, Nanos until) {
  const Nanos trained =
      std::min(flight.times.ends, until) - std::max(flight.times.begins, measured_from_);
  if (trained <= 0) return;
  figures_.tokens += static_cast<double>(trained) /
                     static_cast<double>(flight.times.ends - flight.times.begins) *
                     static_cast<double>(flight.steps * tokens_per_step_);
}

}  // namespace rubato

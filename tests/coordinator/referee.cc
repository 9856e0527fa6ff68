#include "tests/coordinator/referee.h"

#include <algorithm>
#include <cmath>

#include "rubato/coordinator/event_text.h"

namespace rubato {
namespace {

// A fate's place in the ledger's counts.
int64_t FateCounts::*column(int fate) {
  constexpr int64_t FateCounts::*kColumns[] = {nullptr,
                                               &FateCounts::assigned,
                                               &FateCounts::applied,
                                               &FateCounts::returned,
                                               &FateCounts::discarded,
                                               &FateCounts::quarantined};
  return kColumns[fate];
}

std::string text(const FateCounts& c) {
  return cat("issued ", c.issued, " assigned ", c.assigned, " applied ", c.applied, " returned ",
             c.returned, " discarded ", c.discarded, " quarantined ", c.quarantined);
}

}  // namespace

Referee::Referee(const Rig& rig) : rig_(rig), sampler_(rig.make_sampler()) {
  for (int64_t size : rig.config.shard_sequences) shards_.emplace_back().size = size;
}

std::string Referee::watch(Nanos now, const Event& event, const Effects& effects,
                           const Coordinator& coordinator, bool thorough) {
  ++events_;
  effects_ = &effects;
  at_ = 0;
  touched_.clear();
  closes_group_.reset();
  WorkerId subject(-1);
  const bool was_paused = paused_;
  const auto* told = std::get_if<Pause>(&event);
  resumed_ = told && !told->on && was_paused;
  bool opens = false;  // somebody may have begun to wait for a group of its own
  if (const auto* join = std::get_if<WorkerJoined>(&event)) {
    subject = join->worker;
    joined(now, *join);
  } else if (const auto* lost = std::get_if<WorkerLost>(&event)) {
    lose(now, lost->worker);
  } else if (std::holds_alternative<Start>(event)) {
    started_ = true;
  } else if (const auto* update = std::get_if<UpdateArrived>(&event)) {
    subject = update->worker;
    arrived(now, *update);
    opens = true;
  } else if (const auto* want = std::get_if<TaskWanted>(&event)) {
    opens = wanted(now, *want);
  } else if (told) {
    paused(now, *told);
  }
  const std::optional<Nanos> earliest = earliest_close(now, opens);
  bool dispatched = false;
  while (const Effect* effect = next_effect()) {
    if (const auto* apply = std::get_if<Apply>(effect)) {
      if (averages())
        seen_members_of_group(*apply);
      else
        wrong("an apply that no arrival explains");
    } else if (const auto* dispatch = std::get_if<Dispatch>(effect)) {
      dispatched = true;
      seen(now, *dispatch);
    } else if (std::holds_alternative<Finished>(*effect)) {
      if (finished_) wrong("finished twice");
      finished_ = true;
    } else if (const auto* timer = std::get_if<SetTimer>(effect)) {
      if (timer->at < now) wrong("a timer in the past");
    } else if (!std::holds_alternative<Save>(*effect)) {
      wrong(cat("no event explains: ", effect_text(*effect)));
    }
  }
  if (dispatched && earliest && now < *earliest) wrong("the window was closed too early");
  const bool spent = counts_.steps >= rig_.config.budget_steps && held_.empty();
  if (finished_ != spent || finished_ != coordinator.finished())
    wrong("the end came at a wrong time");
  if (averages() && !held_.empty() && !anyone_out()) wrong("a complete round was not applied");
  check_waiting(now, dispatched, subject);
  // Whose delta ends its group does not wait, and no group ends with a delta that does not say so.
  if (closes_group_ == true && started_ && !finished_ && !paused_ && waits(workers_[subject]))
    wrong("a group was said to end, and its last member waits");
  if (closes_group_ == false && dispatched) wrong("a group ended without a word");
  if (resumed_ && started_ && !finished_ && !rounds() && anyone_waits())
    wrong("somebody waits behind a pause");
  counts_.rejected += std::ranges::count_if(
      *effects_, [](const Effect& effect) { return std::holds_alternative<Reject>(effect); });
  const CoordinatorCounts& c = coordinator.counts();
  if (c.steps != counts_.steps || c.tokens != counts_.tokens || c.arrivals != counts_.arrivals ||
      c.discarded != counts_.discarded || c.rejected != counts_.rejected ||
      c.lost != counts_.lost || c.version != version_)
    wrong("the coordinator's counts are off");
  check_ledger(coordinator.ledger(), thorough);
  return wrong_;
}

const Effect* Referee::next_effect() {
  return at_ < effects_->size() ? &(*effects_)[at_++] : nullptr;
}

// A worker's own tasks never go beyond the budget.
int64_t Referee::steps_left_for(const WorkerBook& worker) const {
  int64_t left = rig_.config.budget_steps - counts_.steps;
  for (int64_t id : worker.tasks) left -= tasks_[static_cast<size_t>(id)].task.steps;
  return left;
}

bool Referee::waits(const WorkerBook& worker) const {
  if (!worker.connected || !worker.wants) return false;
  return worker.tasks.empty() || (worker.tasks.size() == 1 && steps_left_for(worker) > 0);
}

bool Referee::anyone_waits() const {
  return std::ranges::any_of(workers_, [this](const auto& entry) { return waits(entry.second); });
}

// Somebody who has a task and is content with it: the others may be waiting for that worker.
bool Referee::anyone_out() const {
  return std::ranges::any_of(workers_, [this](const auto& entry) {
    return !entry.second.tasks.empty() && !waits(entry.second);
  });
}

// ---- membership

void Referee::joined(Nanos now, const WorkerJoined& event) {
  WorkerBook& worker = workers_[event.worker];
  if (!worker.tasks.empty()) {
    lose(now, event.worker);
    if (!anyone_waits()) opened_.reset();  // it had wanted one more and was the only one
  }
  if (!worker.connected) {
    worker.waiting_since = now;
    worker.waiting_event = events_;
  }
  worker.connected = true;
  worker.wants = true;
  if (!event.has_state) worker.ramp = started_ && rig_.config.inner_rewarm_steps > 0 ? 0 : -1;
}

void Referee::lose(Nanos now, WorkerId id) {
  WorkerBook& worker = workers_[id];
  worker.connected = false;
  worker.wants = false;
  worker.waiting_since = now;
  if (worker.tasks.empty()) return;
  for (int64_t task : worker.tasks) {
    TaskBook& book = tasks_[static_cast<size_t>(task)];
    book.state = State::kLost;
    move(book.task, 0, book.task.steps * rig_.config.batch_sequences, Fate::kReturned, task);
    uncount(book.task, book.task.steps);
  }
  worker.tasks.clear();
  ++counts_.lost;
}

// A worker that has delivered its newest task has nothing to do; one that has delivered an older
// one goes on with the newest, unless it has wanted more already.
void Referee::release(Nanos now, const Task& task) {
  WorkerBook& worker = workers_[task.worker];
  const auto held = std::ranges::find(worker.tasks, task.id.value());
  if (held == worker.tasks.end()) return;
  const bool waited = waits(worker);
  worker.wants = worker.wants || held + 1 == worker.tasks.end();
  worker.tasks.erase(held);
  if (waited) return;
  worker.waiting_since = now;
  worker.waiting_event = events_;
}

// Whether it makes somebody wait.
bool Referee::wanted(Nanos now, const TaskWanted& event) {
  const auto it = workers_.find(event.worker);
  if (it == workers_.end() || rig_.config.overlap == Overlap::kNone) return false;
  WorkerBook& worker = it->second;
  if (worker.tasks.empty() || worker.tasks.back() != event.behind.value()) return false;
  TaskBook& book = tasks_[static_cast<size_t>(event.behind.value())];
  if (book.asked) return false;
  book.asked = true;
  worker.wants = true;
  worker.waiting_since = now;
  worker.waiting_event = events_;
  return waits(worker);
}

// Behind a pause waiting begins anew, and no window is left of the time before.
void Referee::paused(Nanos now, const Pause& event) {
  if (event.on == paused_) return;
  paused_ = event.on;
  opened_.reset();
  for (auto& [id, worker] : workers_) worker.waiting_since = now;
}

// ---- arrival

bool Referee::takes_reject(const UpdateArrived& event, std::set<RejectReason> reasons) {
  const Effect* effect = next_effect();
  const Reject* reject = effect ? std::get_if<Reject>(effect) : nullptr;
  if (!reject || reject->worker != event.worker || reject->task != event.task ||
      !reasons.contains(reject->reason)) {
    wrong(cat("want a rejection for: ", to_string(*reasons.begin()), "; got ",
              effect ? effect_text(*effect) : "nothing"));
    return false;
  }
  return true;
}

void Referee::arrived(Nanos now, const UpdateArrived& event) {
  const int64_t id = event.task.value();
  if (id < 0 || id >= static_cast<int64_t>(tasks_.size())) {
    takes_reject(event, {RejectReason::kUnknownTask});
    return;
  }
  TaskBook& book = tasks_[static_cast<size_t>(id)];
  if (book.state == State::kApplied || book.state == State::kHeld) {
    const Effect* effect = next_effect();
    const auto* already = effect ? std::get_if<AlreadyApplied>(effect) : nullptr;
    if (!already || already->task != event.task) wrong("want already applied");
    return;
  }
  const Task& task = book.task;
  const CoordinatorConfig& config = rig_.config;
  if (book.state == State::kClosed) {
    takes_reject(event, {RejectReason::kSuperseded});
  } else if (event.worker != task.worker) {
    takes_reject(event, {RejectReason::kWrongWorker});
  } else if (event.steps_done < 0 || event.steps_done > task.steps || event.train_ns < 0 ||
             event.tokens !=
                 event.steps_done * config.batch_sequences * config.tokens_per_sequence) {
    takes_reject(event, {RejectReason::kBadClaim});
    if (book.state == State::kLost) return;
    book.state = State::kClosed;
    refuse(task, task.steps * config.batch_sequences);
    uncount(task, task.steps);
    release(now, task);
  } else if (finished_) {
    takes_reject(event, {RejectReason::kFinished});
  } else if (book.state == State::kLost && rounds() && task.base.value() != version_) {
    book.state = State::kClosed;
    takes_reject(event, {RejectReason::kSuperseded});
  } else {
    const int64_t done = event.steps_done * config.batch_sequences;
    if (book.state == State::kLost) {
      move(task, 0, done, Fate::kAssigned, id);
      uncount(task, -event.steps_done);
    } else {
      move(task, done, task.steps * config.batch_sequences - done, Fate::kReturned, -1);
      uncount(task, task.steps - event.steps_done);
      release(now, task);
    }
    book.state = State::kClosed;
    if (event.steps_done == 0) {
      takes_reject(event, {RejectReason::kEmpty});
      return;
    }
    const double norm = event.norm / std::sqrt(static_cast<double>(event.steps_done));
    double limit = HUGE_VAL;
    if (!norms_.empty() && static_cast<int64_t>(norms_.size()) >= config.door.norm_after &&
        config.door.norm_action != NormAction::kOff) {
      std::vector<double> last(norms_.end() - std::min<std::ptrdiff_t>(64, std::ssize(norms_)),
                               norms_.end());
      std::ranges::sort(last);
      limit = config.door.norm_multiple * last[last.size() / 2];
    }
    const bool finite = event.finite && std::isfinite(event.norm) && event.norm >= 0;
    if (!finite || (norm > limit && config.door.norm_action == NormAction::kReject)) {
      takes_reject(event, {finite ? RejectReason::kNormTooLarge : RejectReason::kNotFinite});
      refuse(task, done);
      uncount(task, event.steps_done);
      return;
    }
    const double scale = std::min(1.0, limit / norm);
    norms_.push_back(std::min(norm, limit));
    accept(event, book, scale);
  }
}

void Referee::accept(const UpdateArrived& event, TaskBook& book, double scale) {
  const int64_t done = event.steps_done * rig_.config.batch_sequences;
  counts_.steps += event.steps_done;
  counts_.tokens += event.tokens;
  ++counts_.arrivals;
  book.state = State::kApplied;
  book.scale = scale;
  book.facts = event;
  const int64_t staleness = version_ - book.task.base.value();
  if (staleness < 0) wrong("negative staleness");
  if (rig_.config.max_staleness && staleness > *rig_.config.max_staleness) {
    move(book.task, 0, done, Fate::kDiscarded, -1);
    ++counts_.discarded;
    const Effect* effect = next_effect();
    const auto* discard = effect ? std::get_if<Discard>(effect) : nullptr;
    if (!discard || discard->task != event.task || discard->staleness != staleness)
      wrong("want a discard");
    return;
  }
  move(book.task, 0, done, Fate::kApplied, -1);
  if (averages()) {
    book.state = State::kHeld;
    held_.insert(event.task.value());
    return;
  }
  const Effect* effect = next_effect();
  const auto* apply = effect ? std::get_if<Apply>(effect) : nullptr;
  if (!apply || apply->members.size() != 1 || apply->members[0].task != event.task)
    return wrong("want an apply of the delta");
  if (std::abs(apply->members[0].weight - scale) > 1e-12) wrong("want another weight");
  const bool moves = ++collected_ == rig_.config.arrivals_per_step;
  if (apply->staleness != staleness || apply->steps != event.steps_done ||
      apply->tokens != event.tokens || apply->moves_theta != moves)
    wrong(cat("wrong facts: ", effect_text(*effect)));
  closes_group_ = apply->closes_group;
  if (moves) {
    collected_ = 0;
    ++version_;
  }
}

double Referee::share_of(const TaskBook& book) const {
  const auto given = rig_.gate.options.find("weight");
  const std::string weight = given != rig_.gate.options.end() ? std::get<std::string>(given->second)
                             : rounds()                       ? "members"
                                                              : "tokens";
  if (weight == "members") return 1;
  if (weight == "tokens") return static_cast<double>(book.facts.tokens);
  return static_cast<double>(shards_[static_cast<size_t>(book.task.shard.value())].size);
}

// A round has everybody, any other group its quorum of those who take part.
void Referee::check_group_is_due() {
  if (rounds() && anyone_out()) wrong("a round was closed while somebody was out");
  if (rounds() || resumed_ || counts_.steps >= rig_.config.budget_steps) return;
  const auto here = static_cast<int64_t>(held_.size());
  const int64_t all = here + std::ranges::count_if(workers_, [this](const auto& entry) {
                        return !entry.second.tasks.empty() && !waits(entry.second);
                      });
  const auto given = rig_.gate.options.find("deltas");
  const int64_t needed =
      given == rig_.gate.options.end() ? (all + 1) / 2 : std::get<int64_t>(given->second);
  if (here < std::min(needed, all)) wrong("a group was closed before its quorum was there");
}

void Referee::seen_members_of_group(const Apply& apply) {
  check_group_is_due();
  std::set<int64_t> members;
  WorkerId last(-1);
  double whole = 0, weight = 0, scaled = 0;
  for (int64_t id : held_) whole += share_of(tasks_[static_cast<size_t>(id)]);
  int64_t tokens = 0, steps = 0, staleness = 0;
  for (const Apply::Member& member : apply.members) {
    members.insert(member.task.value());
    TaskBook& book = tasks_.at(static_cast<size_t>(member.task.value()));
    if (book.task.worker < last) wrong("members are not in the order of their workers");
    last = book.task.worker;
    weight += member.weight;
    scaled += book.scale * share_of(book) / whole;
    if (std::abs(member.weight - book.scale * share_of(book) / whole) > 1e-12)
      wrong("a member's weight is wrong");
    tokens += book.facts.tokens;
    steps += book.facts.steps_done;
    if (member.staleness != version_ - book.task.base.value()) wrong("a member's staleness is off");
    staleness = std::max(staleness, member.staleness);
    book.state = State::kApplied;
  }
  if (members != held_ || members.size() != apply.members.size())
    wrong("the group is not the round's deltas");
  held_.clear();
  const bool moves = ++collected_ == rig_.config.arrivals_per_step;
  if (moves) {
    collected_ = 0;
    ++version_;
  }
  if (apply.staleness != staleness || (rounds() && staleness > 0) || apply.tokens != tokens ||
      apply.steps != steps || !apply.closes_group || apply.moves_theta != moves ||
      std::abs(weight - scaled) > 1e-9)
    wrong("wrong facts of a group");
}

// ---- dispatch

void Referee::seen(Nanos now, const Dispatch& dispatch) {
  const Task& task = dispatch.task;
  const CoordinatorConfig& config = rig_.config;
  if (finished_ || !started_) wrong("a dispatch outside the run");
  if (paused_) wrong("a dispatch while the run is paused");
  if (task.id.value() != static_cast<int64_t>(tasks_.size())) wrong("task ids skip");
  WorkerBook& worker = workers_[task.worker];
  if (!waits(worker)) wrong("a task for a worker that does not want one, has enough or is gone");
  if (!worker.tasks.empty()) ++second_tasks_;
  if (worker.tasks.size() > (config.overlap == Overlap::kNone ? 0u : 1u)) wrong("too many tasks");
  if (task.base.value() != version_ || task.dispatched != now || task.expected_ready < now ||
      task.expected_arrival < task.expected_ready)
    wrong("a task from the wrong version or time");
  // Nobody works past the budget; the members of a last round share what is left of it.
  const int64_t left = steps_left_for(worker);
  const int64_t members = std::ranges::count_if(
      *effects_, [](const Effect& effect) { return std::holds_alternative<Dispatch>(effect); });
  const int64_t longest =
      std::min(config.local_steps, rounds() ? (left + members - 1) / members : left);
  if (task.steps < 1 || task.steps > longest ||
      (rig_.policy.name == "fixed" && task.steps != longest))
    wrong("a task of the wrong length");
  std::vector<ShardProgress> progress;
  int64_t all = 0;
  for (const Shard& shard : shards_) {
    progress.push_back({shard.size, shard.assigned, shard.visits});
    all += shard.size;
  }
  if (sampler_->sample(progress, task.worker, task.id, config.seed) != task.shard)
    return wrong("n_i is not what was assigned and not returned: another shard was due");
  Shard& shard = shards_[static_cast<size_t>(task.shard.value())];
  if (task.lr_first != shard.steps) wrong("t is not the steps assigned and not returned");
  if (task.lr_total != std::max<int64_t>(1, config.schedule_steps * shard.size / all))
    wrong("T_i is off");
  const bool ramp = worker.ramp >= 0 && worker.ramp < config.inner_rewarm_steps;
  if (task.rewarm_first != (ramp ? worker.ramp : -1)) wrong("the ramp is off");
  if (ramp) worker.ramp += task.steps;

  int64_t count = 0;
  for (const DataRange& range : task.ranges) {
    if (range.count < 1 || range.first < 0 || range.first + range.count > shard.size)
      return wrong("a range outside its shard");
    count += range.count;
  }
  if (count != task.steps * config.batch_sequences) return wrong("too much or too little data");
  for (Sequence* sequence : sequences_of(task, 0, count)) {
    if (sequence->fate == Fate::kReturned) {
      if (sequence->task >= 0 && tasks_[static_cast<size_t>(sequence->task)].state == State::kLost)
        tasks_[static_cast<size_t>(sequence->task)].state = State::kClosed;  // superseded
    } else if (sequence->fate != Fate::kUnissued) {
      wrong("a sequence is given out that is not free");
    }
  }
  const int64_t fresh_before = shard.counts.issued;
  const int64_t waiting_before = shard.counts.returned;
  move(task, 0, count, Fate::kAssigned, task.id.value());
  if (shard.counts.issued - fresh_before != std::max<int64_t>(0, count - waiting_before))
    wrong("returned data did not go first");
  for (int64_t i = fresh_before; i < shard.counts.issued; ++i) {
    const Epoch& epoch = shard.epochs[static_cast<size_t>(i / shard.size)];
    if (epoch.sequences[static_cast<size_t>(i % shard.size)].fate == Fate::kUnissued)
      wrong("fresh data is not issued in order");
  }
  shard.assigned += count;
  shard.steps += task.steps;
  ++shard.visits;
  worker.wants = false;
  worker.tasks.push_back(task.id.value());
  tasks_.emplace_back().task = task;
}

// ---- the book of sequences

std::vector<Referee::Sequence*> Referee::sequences_of(const Task& task, int64_t first,
                                                      int64_t count) {
  Shard& shard = shards_[static_cast<size_t>(task.shard.value())];
  std::vector<Sequence*> out;
  int64_t position = 0;
  for (const DataRange& range : task.ranges) {
    while (static_cast<int64_t>(shard.epochs.size()) <= range.epoch)
      shard.epochs.push_back({std::vector<Sequence>(static_cast<size_t>(shard.size)), {}});
    for (int64_t i = range.first; i < range.first + range.count; ++i, ++position) {
      if (position < first || position >= first + count) continue;
      out.push_back(
          &shard.epochs[static_cast<size_t>(range.epoch)].sequences[static_cast<size_t>(i)]);
    }
    touched_.insert({task.shard.value(), range.epoch});
  }
  return out;
}

void Referee::move(const Task& task, int64_t first, int64_t count, Fate to, int64_t holder) {
  Shard& shard = shards_[static_cast<size_t>(task.shard.value())];
  const std::vector<Sequence*> moved = sequences_of(task, first, count);
  for (size_t i = 0, range = 0, used = 0; i < static_cast<size_t>(first) + moved.size(); ++i) {
    while (used == static_cast<size_t>(task.ranges[range].count)) {
      ++range;
      used = 0;
    }
    ++used;
    if (i < static_cast<size_t>(first)) continue;
    Sequence& sequence = *moved[i - static_cast<size_t>(first)];
    if (sequence.fate == Fate::kApplied || sequence.fate == Fate::kDiscarded ||
        sequence.fate == Fate::kQuarantined)
      wrong("a sequence whose fate was final moved on");
    if (to == Fate::kApplied && sequence.task != task.id.value())
      wrong("a sequence was applied for a task that does not hold it");
    Epoch& epoch = shard.epochs[static_cast<size_t>(task.ranges[range].epoch)];
    for (FateCounts* counts : {&epoch.counts, &shard.counts}) {
      if (sequence.fate == Fate::kUnissued)
        ++counts->issued;
      else
        --(counts->*column(static_cast<int>(sequence.fate)));
      ++(counts->*column(static_cast<int>(to)));
    }
    sequence.fate = to;
    sequence.task = holder;
  }
}

void Referee::refuse(const Task& task, int64_t count) {
  int64_t position = 0;
  for (Sequence* sequence : sequences_of(task, 0, count)) {
    ++sequence->rejects;
    max_rejects_ = std::max<int64_t>(max_rejects_, sequence->rejects);
    move(task, position++, 1, sequence->rejects >= 3 ? Fate::kQuarantined : Fate::kReturned, -1);
  }
}

void Referee::uncount(const Task& task, int64_t steps) {
  Shard& shard = shards_[static_cast<size_t>(task.shard.value())];
  shard.assigned -= steps * rig_.config.batch_sequences;
  shard.steps -= steps;
}

// ---- what must hold after every step

Nanos Referee::grace() const {
  return rig_.gate.name == "grace" ? from_seconds(std::get<double>(rig_.gate.options.at("seconds")))
                                   : 0;
}

Nanos Referee::slack() const {
  const auto given = rig_.gate.options.find("slack");
  return given == rig_.gate.options.end() ? grace() : from_seconds(std::get<double>(given->second));
}

// When the window that is open now may close: at the latest expectation within it plus slack, never
// beyond its end; nothing when nobody is expected within it. Expected is whoever does not wait yet:
// when it should be ready for its next task and has room for it. Asked before this event's
// dispatches.
std::optional<Nanos> Referee::earliest_close(Nanos now, bool opens) {
  if (!started_ || rig_.gate.name != "grace" || !anyone_waits()) return std::nullopt;
  if (!opened_ && opens) opened_ = now;
  if (!opened_) return std::nullopt;  // who joins or starts outside a window waits for nobody
  const Nanos end = *opened_ + grace();
  std::optional<Nanos> latest;
  for (const auto& [id, worker] : workers_) {
    if (worker.tasks.empty() || waits(worker)) continue;
    const TaskBook& oldest = tasks_[static_cast<size_t>(worker.tasks.front())];
    const TaskBook& newest = tasks_[static_cast<size_t>(worker.tasks.back())];
    Nanos expected = newest.asked ? 0 : newest.task.expected_ready;
    if (newest.asked || worker.tasks.size() > 1)
      expected = std::max(expected, oldest.task.expected_arrival);
    if (expected <= end) latest = std::max(latest.value_or(expected), expected);
  }
  if (!latest) return std::nullopt;
  return std::min(*latest + slack(), end);
}

void Referee::check_waiting(Nanos now, bool dispatched, WorkerId subject) {
  if (!anyone_waits()) opened_.reset();
  if (!started_ || finished_ || paused_) return;
  const bool out = anyone_out();
  for (const auto& [id, worker] : workers_) {
    if (!waits(worker)) continue;
    if (!out) wrong(cat("worker ", id, " waits for nobody"));
    // At a free gate only a tie of arrivals is waited for, and that takes no time.
    if (!averages() && now - worker.waiting_since > grace())
      wrong(cat("worker ", id, " waits longer than the gate allows"));
    // Who waited before this event goes with the first group that is dispatched.
    if (dispatched && id != subject && worker.waiting_event < events_)
      wrong(cat("worker ", id, " was passed over"));
  }
}

void Referee::check_ledger(const Ledger& ledger, bool thorough) {
  FateCounts total;
  for (size_t i = 0; i < shards_.size(); ++i) {
    const FateCounts counts = ledger.shard_counts(ShardId(static_cast<int64_t>(i)));
    total += shards_[i].counts;
    if (!(counts == shards_[i].counts) || !counts.balanced())
      wrong(cat("shard ", i, ": the ledger says ", text(counts), ", it is ",
                text(shards_[i].counts)));
    if (!thorough) continue;
    for (size_t epoch = 0; epoch < shards_[i].epochs.size(); ++epoch)
      touched_.insert({static_cast<int64_t>(i), static_cast<int64_t>(epoch)});
  }
  if (!(ledger.total_counts() == total)) wrong("the ledger's total is off");
  for (const auto& [shard, number] : touched_) {
    const Shard& book = shards_[static_cast<size_t>(shard)];
    const FateCounts& counts = book.epochs[static_cast<size_t>(number)].counts;
    const bool open = counts.issued < book.size || counts.assigned > 0 || counts.returned > 0;
    const FateCounts says = ledger.epoch_counts(ShardId(shard), number);
    if (!(says == (open ? counts : FateCounts{})))
      wrong(cat("shard ", shard, " epoch ", number, ": the ledger says ", text(says), ", it is ",
                text(counts)));
  }
}

}  // namespace rubato

#include "rubato/coordinator/event_text.h"

#include "rubato/base/text.h"

namespace rubato {
namespace {

std::string words(const Apply& apply) {
  std::string out = "apply";
  for (const Apply::Member& member : apply.members) {
    out += cat(" task ", member.task);
    if (member.weight != 1) out += cat(" x ", member.weight);
  }
  out += cat(": staleness ", apply.staleness, ", ", apply.steps, " steps, ", apply.tokens,
             " tokens", apply.moves_theta ? "" : ", theta stays");
  return out + (apply.closes_group ? ", closes the group" : "");
}

std::string words(const Discard& discard) {
  return cat("discard task ", discard.task, ": staleness ", discard.staleness);
}

std::string words(const Reject& reject) {
  return cat("reject task ", reject.task, " of worker ", reject.worker, ": ",
             to_string(reject.reason));
}

std::string words(const AlreadyApplied& already) {
  return cat("already applied task ", already.task, " of worker ", already.worker);
}

std::string words(const Dispatch& dispatch) {
  const Task& task = dispatch.task;
  std::string out = cat("dispatch task ", task.id, " to worker ", task.worker, ": ", task.steps,
                        " steps from version ", task.base, ", shard ", task.shard);
  for (const DataRange& range : task.ranges) {
    out += cat(" ", range.epoch, ":[", range.first, ", ", range.first + range.count, ")");
    if (range.rejects > 0) out += cat("!", range.rejects);
  }
  out += cat(", t ", task.lr_first, "/", task.lr_total);
  if (task.rewarm_first >= 0) out += cat(", ramp from ", task.rewarm_first);
  if (task.expected_ready != task.expected_arrival)
    out += cat(", ready ", time_text(task.expected_ready));
  return out + ", expected " + time_text(task.expected_arrival);
}

std::string words(const SetTimer& set) {
  return cat("set timer ", set.timer, " at ", time_text(set.at));
}

std::string words(const Save&) { return "save"; }
std::string words(const Finished&) { return "finished"; }

std::string words(const WorkerJoined& joined) {
  return cat("worker ", joined.worker, " joined, ",
             joined.ns_per_step > 0 ? time_text(joined.ns_per_step) + " a step" : "speed unknown",
             joined.has_state ? ", with its state" : "");
}

std::string words(const WorkerLost& lost) { return cat("worker ", lost.worker, " lost"); }
std::string words(const Start&) { return "start"; }

std::string words(const UpdateArrived& update) {
  return cat("delta of task ", update.task, " from worker ", update.worker, ": ", update.steps_done,
             " steps, ", update.tokens, " tokens in ", time_text(update.train_ns), ", norm ",
             update.norm, update.finite ? "" : ", not finite");
}

std::string words(const TaskWanted& wanted) {
  return cat("worker ", wanted.worker, " wants a task behind task ", wanted.behind);
}

std::string words(const Pause& pause) { return pause.on ? "paused" : "resumed"; }

std::string words(const RolledBack&) { return "rolled back"; }

std::string words(const TimerFired& timer) { return cat("timer ", timer.timer, " fired"); }

}  // namespace

std::string event_text(const Event& event) {
  return std::visit([](const auto& which) { return words(which); }, event);
}

std::string time_text(Nanos time) {
  std::string fraction = cat(1'000'000'000 + time % kNanosPerSecond).substr(1);
  fraction.erase(fraction.find_last_not_of('0') + 1);
  return cat(time / kNanosPerSecond, fraction.empty() ? "" : ".", fraction, " s");
}

std::string effect_text(const Effect& effect) {
  return std::visit([](const auto& which) { return words(which); }, effect);
}

std::string effects_text(const Effects& effects) {
  std::string out;
  for (const Effect& effect : effects) out += effect_text(effect) + "\n";
  return out;
}

}  // namespace rubato

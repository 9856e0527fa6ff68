#include "tests/coordinator/scenario.h"

#include <cmath>
#include <optional>
#include <sstream>

#include "tests/coordinator/rig.h"

#include "rubato/coordinator/event_text.h"

namespace rubato {
namespace {

using Words = std::vector<std::string>;

Words words_of(const std::string& line, char separator) {
  Words words;
  std::stringstream stream(line);
  for (std::string word; std::getline(stream, word, separator);)
    if (!word.empty()) words.push_back(word);
  return words;
}

// The part behind `=`.
std::string value_of(const std::string& word) { return word.substr(word.find('=') + 1); }
Nanos seconds(const std::string& word) { return from_seconds(std::stod(word)); }

class Player {
 public:
  // One line that is not a comment; what is printed below it.
  std::string line(const Words& words) {
    if (words[0] == "set") {
      for (size_t i = 1; i < words.size(); ++i) set(words[i]);
      return "";
    }
    if (!coordinator_) coordinator_.emplace(rig_.make().value());
    if (words.at(1) == "ledger") return ledger();
    if (words.at(1) == "counts") return counts();
    Effects effects;
    coordinator_->step(seconds(words[0]), event(words), effects);
    for (const Effect& effect : effects) {
      if (const auto* dispatch = std::get_if<Dispatch>(&effect)) tasks_.push_back(dispatch->task);
    }
    return effects.empty() ? "(nothing)\n" : effects_text(effects);
  }

 private:
  void set(const std::string& word) {
    const std::string key = word.substr(0, word.find('=')), value = value_of(word);
    CoordinatorConfig& config = rig_.config;
    const auto number = [&] { return std::stoll(value); };
    if (key == "shards") {
      for (const std::string& size : words_of(value, ','))
        config.shard_sequences.push_back(std::stoll(size));
    } else if (key == "gate") {
      rig_.gate.name = value;
    } else if (key == "grace") {
      rig_.gate.options.emplace("seconds", std::stod(value));
    } else if (key == "quorum") {
      rig_.gate.options.emplace("deltas", static_cast<int64_t>(number()));
    } else if (key == "quorum_grace") {
      rig_.gate.options.emplace("grace", std::stod(value));
    } else if (key == "weight") {
      rig_.gate.options.emplace("weight", value);
    } else if (key == "policy") {
      rig_.policy.name = value;
    } else if (key == "sampler") {
      rig_.sampler.name = value;
    } else if (key == "H") {
      config.local_steps = number();
    } else if (key == "batch") {
      config.batch_sequences = number();
    } else if (key == "budget") {
      config.budget_steps = config.schedule_steps = number();
    } else if (key == "rewarm") {
      config.inner_rewarm_steps = number();
    } else if (key == "max_staleness") {
      config.max_staleness = number();
    } else if (key == "buffer") {
      config.arrivals_per_step = number();
    } else if (key == "save_every") {
      config.save_every_steps = number();
    } else if (key == "slack") {
      rig_.gate.options.emplace("slack", std::stod(value));
    } else if (key == "overlap") {
      config.overlap = value == "full" ? Overlap::kFull : Overlap::kUpload;
    } else if (key == "norm_after") {
      config.door.norm_after = number();
    } else {
      throw std::invalid_argument("unknown setting " + key);
    }
  }

  Event event(const Words& words) {
    const std::string& what = words[1];
    const auto number = [&](size_t i) { return std::stoll(words.at(i)); };
    if (what == "start") return Start{};
    if (what == "pause" || what == "resume") return Pause{what == "pause"};
    if (what == "rollback") return RolledBack{};
    if (what == "lose") return WorkerLost{WorkerId(number(2))};
    if (what == "timer") return TimerFired{number(2)};
    if (what == "want") return TaskWanted{WorkerId(number(2)), TaskId(number(3))};
    if (what == "join")
      return WorkerJoined{WorkerId(number(2)), seconds(words.at(3)), words.size() > 4};
    if (what != "arrive") throw std::invalid_argument("unknown event " + what);
    UpdateArrived update{.worker = WorkerId(number(2)), .task = TaskId(number(3))};
    const auto known = static_cast<size_t>(number(3));
    if (known < tasks_.size()) {
      update.steps_done = tasks_[known].steps;
      update.train_ns = seconds(words[0]) - tasks_[known].dispatched;
    }
    std::optional<int64_t> tokens;
    std::optional<double> norm;
    for (size_t i = 4; i < words.size(); ++i) {
      const std::string key = words[i].substr(0, words[i].find('='));
      const std::string value = value_of(words[i]);
      if (key == "steps")
        update.steps_done = std::stoll(value);
      else if (key == "tokens")
        tokens = std::stoll(value);
      else if (key == "norm")
        norm = std::stod(value);
      else if (key == "train")
        update.train_ns = seconds(value);
      else if (key == "finite")
        update.finite = value == "yes";
      else
        throw std::invalid_argument("unknown key " + key);
    }
    // The usual delta: every token of its steps, norm 1 per square root of steps.
    update.tokens = tokens.value_or(update.steps_done * rig_.config.batch_sequences);
    update.norm = norm.value_or(std::sqrt(static_cast<double>(std::abs(update.steps_done))));
    return update;
  }

  std::string ledger() const {
    std::string out;
    for (int64_t i = 0; i < coordinator_->ledger().num_shards(); ++i) {
      const FateCounts counts = coordinator_->ledger().shard_counts(ShardId(i));
      out += cat("shard ", i, ": issued ", counts.issued, " = assigned ", counts.assigned,
                 " + applied ", counts.applied, " + returned ", counts.returned, " + discarded ",
                 counts.discarded, " + quarantined ", counts.quarantined, "\n");
    }
    return out;
  }

  std::string counts() const {
    const CoordinatorCounts& counts = coordinator_->counts();
    return cat("version ", counts.version, ", ", counts.steps, " steps, ", counts.arrivals,
               " arrivals, ", counts.discarded, " discarded, ", counts.rejected, " rejected, ",
               counts.lost, " lost\n");
  }

  Rig rig_;
  std::optional<Coordinator> coordinator_;
  std::vector<Task> tasks_;
};

}  // namespace

StatusOr<std::string> play_scenario(std::string_view script) {
  Player player;
  std::string out;
  std::stringstream stream{std::string(script)};
  int64_t number = 0;
  for (std::string line; std::getline(stream, line);) {
    ++number;
    if (line.starts_with(' ')) continue;  // effects of an earlier run
    out += line + "\n";
    const Words words = words_of(line, ' ');
    if (words.empty() || line.starts_with('#')) continue;
    try {
      std::stringstream printed(player.line(words));
      for (std::string effect; std::getline(printed, effect);) out += "  " + effect + "\n";
    } catch (const std::exception& error) {
      return absl::InvalidArgumentError(cat("[scenario] line ", number, ": ", error.what()));
    }
  }
  return out;
}

}  // namespace rubato

// A run as its page shows it: everything its records told, in memory that does not grow with them
// (bounded_series.h, time_grid.h), and what of it is new since a moment, as JSON of bounded size.
// docs/dashboard.md is the table of keys.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "rubato/metrics/record.h"
#include "rubato/metrics/run_statistics.h"
#include "rubato/web/bounded_series.h"
#include "rubato/web/time_grid.h"

namespace rubato {

class RunView {
 public:
  RunView();

  /// Takes in what a run wrote next.
  void add(const RecordLog& log);
  /// Records taken in so far: the moment to name in the next question.
  int64_t records() const { return records_; }
  /// Of the last evaluation; nullptr before it.
  const EvalRecord* last_eval() const { return has_eval_ ? &last_eval_ : nullptr; }

  /// What is new behind `moment` (0: everything) into `out`: evaluations only, or all.
  void write_evals(int64_t moment, nlohmann::ordered_json& out) const;
  void write_all(int64_t moment, nlohmann::ordered_json& out) const;

 private:
  struct EvalPoint {
    bool pretrain;
    int64_t steps, tokens;
    Nanos time, wall;
    double loss_nats, bits_per_byte;
    double y() const { return loss_nats; }
  };
  struct TrainingPoint {
    int64_t steps, tokens;
    Nanos time;
    double loss_nats;
    double y() const { return loss_nats; }
  };
  // What happened in a stretch of time, to all workers together.
  struct Traffic {
    int64_t tokens = 0, arrivals = 0, rejected = 0, bytes_up = 0, bytes_down = 0;
    Nanos train = 0, wait = 0;
    void add(const Traffic& other);
  };
  struct Hours {
    Nanos train = 0, wait = 0, lost = 0;
    void add(const Hours& other);
  };
  struct RecentSpan {
    TaskSpan span;
    int64_t moment;
  };
  struct Lane {
    TimeGrid<Hours> hours;
    std::deque<RecentSpan> recent;
    int64_t rejected = 0, losses = 0;
  };
  struct Happening {
    int64_t moment;
    Nanos time;
    std::string kind;  // event | rejected | lost
    std::string text;
  };

  void add(const EvalRecord& record);
  void add(const UpdateRecord& record);
  void add(const TaskSpan& span);
  void add(const EventRecord& event);
  /// nullptr for a worker beyond those that are drawn.
  Lane* lane(WorkerId worker);
  static void note(std::deque<Happening>& list, Happening happening);

  void write_traffic(int64_t moment, nlohmann::ordered_json& out) const;
  void write_lanes(int64_t moment, nlohmann::ordered_json& out) const;
  void write_workers(nlohmann::ordered_json& out) const;
  void write_staleness(nlohmann::ordered_json& out) const;
  void write_happenings(int64_t moment, nlohmann::ordered_json& out) const;

  int64_t records_ = 0;
  bool has_eval_ = false;
  EvalRecord last_eval_;
  BoundedSeries<EvalPoint> evals_;
  BoundedSeries<TrainingPoint> training_;
  int64_t steps_ = 0, tokens_ = 0;  // of arrivals that were not rejected
  TimeGrid<Traffic> traffic_;
  std::vector<Lane> lanes_;  // by worker
  Contributions contributions_;
  std::deque<Happening> events_, troubles_;  // apart: a flood of rejects hides no event
};

}  // namespace rubato

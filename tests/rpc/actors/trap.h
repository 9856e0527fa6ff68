// A named moment in the life of a process at which it kills itself, as `kill -9` would: the n-th
// time that it comes there. What it leaves behind is a line in DIR/kills with the moment's name.
#pragma once

#include <array>
#include <atomic>
#include <string>
#include <string_view>

namespace rubato {

namespace phase {
// Of a coordinator.
inline constexpr char kMidUpload[] = "coordinator.mid-upload";
inline constexpr char kSpoolToJournal[] = "coordinator.between-spool-and-journal";
inline constexpr char kMidJournal[] = "coordinator.mid-journal-write";
inline constexpr char kJournalToEffect[] = "coordinator.between-journal-and-effect";
inline constexpr char kMidSnapshot[] = "coordinator.mid-snapshot";
inline constexpr char kMidTrim[] = "coordinator.mid-trim";
inline constexpr char kMidDownload[] = "coordinator.mid-download";
// Of a worker.
inline constexpr char kWorkerDownload[] = "worker.mid-download";
inline constexpr char kWorkerTraining[] = "worker.mid-training";
inline constexpr char kWorkerUpload[] = "worker.mid-upload";
inline constexpr char kWorkerPushed[] = "worker.between-push-and-answer";
inline constexpr char kWorkerAnswered[] = "worker.answer-unseen";
}  // namespace phase

class Trap {
 public:
  /// `fault` is "PHASE:N", or "" for a process that lives; `log` takes the line.
  Trap(std::string_view fault, const std::string& log);
  Trap(const Trap&) = delete;
  Trap& operator=(const Trap&) = delete;

  /// Whether the process dies the n-th time it comes to that phase, whenever that is.
  bool waits_for(std::string_view phase) const { return phase == phase_; }
  /// Counts; true the n-th time: spring() is next. Any thread.
  bool reached(std::string_view phase) { return waits_for(phase) && --left_ == 0; }
  /// Writes the line and kills the process. Also from a signal handler.
  [[noreturn]] void spring();

 private:
  std::string phase_, line_;
  std::atomic<int64_t> left_{0};
  std::atomic<bool> sprung_{false};  // one thread is enough
  int log_;
};

}  // namespace rubato

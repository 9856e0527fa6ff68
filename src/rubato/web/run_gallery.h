// The runs of one directory, followed as they are written, and what a page asks about them. One
// thread looks at the files; any number of others ask meanwhile. Neither ever holds up a training.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "rubato/metrics/run_tail.h"
#include "rubato/store/file_system.h"
#include "rubato/web/run_view.h"

namespace rubato {

/// What to follow: the runs that lie in `directory`. `focus` is the name of the one that the page
/// opens with, which may not have begun; "": the one that wrote last, or the best of those that are
/// over.
struct GalleryConfig {
  std::string directory;
  std::string focus;
  bool siblings = true;  // false: the one in focus alone
};

/// The gallery of a run's directory with its siblings, or of a directory of runs.
GalleryConfig gallery_of(FileSystem& files, const std::string& path);

class RunGallery {
 public:
  /// Of more runs the first by name are followed, the one in focus always.
  static constexpr size_t kMostRuns = 24;

  RunGallery(FileSystem& files, GalleryConfig config);
  ~RunGallery();

  /// Looks once: for runs that are new, and for what each wrote. True when there is more to be
  /// read at once. A run that cannot be read shows its error. Only one thread looks.
  bool look();

  /// Every run in one line each: id, name, method, where it stands. Ids stay as they are.
  nlohmann::ordered_json list() const;
  /// What is new in a run behind `since` records of its `epoch`, all or evaluations only;
  /// everything when the epoch is another by now, or `since` 0. nullopt: no such run.
  std::optional<nlohmann::ordered_json> changes(int64_t id, int64_t epoch, int64_t since,
                                                bool only_evals) const;
  /// Its recipe as text, at most 256 KiB; nullopt: no such run.
  std::optional<std::string> recipe(int64_t id) const;

 private:
  struct Run;
  void find_runs();
  void add_run(const std::string& name);
  bool look_at(Run& run);
  int64_t suggested_focus() const;
  void look_at_summary(Run& run);

  FileSystem& files_;
  GalleryConfig config_;
  int rounds_ = 0;
  mutable std::mutex mutex_;  // of all below; held to take in or hand out, never to read a file
  std::vector<std::unique_ptr<Run>> runs_;
  size_t left_out_ = 0;
  int64_t latest_ = 0;  // id of the run that wrote last
};

}  // namespace rubato

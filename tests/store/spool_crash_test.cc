// Power cuts and full disks at every unit of work of uploads.
#include <set>

#include "tests/store/spool_rig.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rubato/store/file_names.h"

namespace rubato {
namespace {

constexpr CrashKeeps kAllKinds[] = {CrashKeeps::kNothing, CrashKeeps::kNames,
                                    CrashKeeps::kNamesAndHalf, CrashKeeps::kNamesAndHole,
                                    CrashKeeps::kEverything};

SpoolOptions keeping() {
  SpoolOptions options;
  options.keep = true;
  return options;
}

/// Uploads of tasks 0 to 2, the last one broken and resumed, then trimming of the first; until the
/// first error. Tells which were acknowledged.
Status live(MemoryFileSystem& files, std::set<TaskId>& committed) {
  RUBATO_ASSIGN_OR_RETURN(const auto spool, Spool::open(files, kRun, keeping()));
  for (const int64_t task : {0, 1}) {
    RUBATO_RETURN_IF_ERROR(upload(*spool, TaskId(task), tiny_delta(task)));
    committed.insert(TaskId(task));
  }
  const std::string delta = tiny_delta(2);
  {
    RUBATO_ASSIGN_OR_RETURN(auto part, spool->begin(TaskId(2), meta_of(delta)));
    RUBATO_RETURN_IF_ERROR(part.append(0, delta.substr(0, 30)));
  }
  RUBATO_RETURN_IF_ERROR(spool->trim({TaskId(1), TaskId(2)}));
  RUBATO_RETURN_IF_ERROR(upload(*spool, TaskId(2), delta));
  committed.insert(TaskId(2));
  return absl::OkStatus();
}

/// A worker of each task sends its delta again until it is acknowledged, as they all do.
void expect_kept(MemoryFileSystem& files, const std::set<TaskId>& committed) {
  auto opened = Spool::open(files, kRun, keeping());
  ASSERT_TRUE(opened.ok()) << opened.status();
  Spool& spool = **opened;
  for (const TaskId task : committed) {
    const auto found = spool.read(task);
    ASSERT_TRUE(found.ok()) << found.status();
    ASSERT_EQ(found->payload, tiny_delta(task.value()));
  }
  for (const SpoolEntry& entry : spool.list()) {
    if (!entry.complete) continue;
    const auto found = spool.read(entry.task);
    ASSERT_TRUE(found.ok()) << "nothing is complete by half: " << found.status();
    ASSERT_EQ(found->verify(), absl::OkStatus());
  }
  for (int64_t task = 0; task < 3; ++task) {
    Status sent = upload(spool, TaskId(task), tiny_delta(task));
    // After a crash the part may hold anything; it is found out and sent again.
    if (absl::IsDataLoss(sent)) sent = upload(spool, TaskId(task), tiny_delta(task));
    ASSERT_TRUE(sent.ok()) << sent;
  }
  *opened = nullptr;
  files.restart(CrashKeeps::kNothing);
  for (int64_t task = 0; task < 3; ++task) {
    const auto found = open_delta(files, kRun, TaskId(task));
    ASSERT_TRUE(found.ok()) << found.status();
    ASSERT_EQ(found->payload, tiny_delta(task));
  }
}

TEST(SpoolCrash, WhereverThePowerGoesWhatWasAcknowledgedIsThere) {
  MemoryFileSystem whole;
  std::set<TaskId> all;
  ASSERT_EQ(live(whole, all), absl::OkStatus());
  ASSERT_EQ(all.size(), 3u);
  ASSERT_GT(whole.work_done(), 700);
  for (const CrashKeeps keeps : kAllKinds) {
    for (int64_t work = 0; work < whole.work_done(); ++work) {
      SCOPED_TRACE(cat("work ", work, " kind ", static_cast<int>(keeps)));
      MemoryFileSystem files;
      files.cut_power_after(work);
      std::set<TaskId> committed;
      ASSERT_FALSE(live(files, committed).ok());
      files.restart(keeps);
      ASSERT_NO_FATAL_FAILURE(expect_kept(files, committed));
    }
  }
}

TEST(SpoolCrash, AFullDiskAtAnyByteLosesNothing) {
  bool finished = false;
  for (int64_t bytes = 0; !finished; ++bytes) {
    MemoryFileSystem files;
    files.fill_after(bytes);
    std::set<TaskId> committed;
    const Status status = live(files, committed);
    finished = status.ok();
    ASSERT_TRUE(finished || absl::IsResourceExhausted(status)) << status;
    files.fill_after(1'000'000);
    ASSERT_NO_FATAL_FAILURE(expect_kept(files, committed)) << bytes;
  }
}

}  // namespace
}  // namespace rubato

#include "rubato/store/spool.h"

#include <thread>

#include "tests/store/spool_rig.h"
#include "tests/store/temporary_directory.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rubato/store/file_names.h"
#include "rubato/store/posix_file_system.h"
#include "rubato/store/version_store.h"

namespace rubato {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int64_t kHeader = 128;  // [bytes] of the header of a tiny delta's file

std::string message(const Status& status) { return std::string(status.message()); }

TEST(Spool, AnUploadIsReadAsItWasSent) {
  MemoryFileSystem files;
  const auto spool = open_spool(files);
  const std::string delta = tiny_delta(7);
  ASSERT_EQ(upload(*spool, TaskId(7), delta), absl::OkStatus());
  const auto found = spool->read(TaskId(7));
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->payload, delta);
  EXPECT_EQ(found->header.task, TaskId(7));
  EXPECT_EQ(found->header.meta, meta_of(delta));
  EXPECT_TRUE(found->verify().ok());
  EXPECT_EQ(found->header.bytes, kHeader);
  EXPECT_THAT(spool->list(), ElementsAre(SpoolEntry{TaskId(7), kHeader + 100, true}));
  EXPECT_EQ(spool->bytes_used(), *files.file_size("run/spool/task-7.delta"));
  EXPECT_EQ(spool->arrived_bytes(TaskId(7)), 100);
  EXPECT_EQ(files.list("run/spool")->size(), 1u);
  EXPECT_TRUE(absl::IsNotFound(spool->read(TaskId(8)).status()));
}

TEST(Spool, ABrokenUploadGoesOnWhereItStopped) {
  MemoryFileSystem files;
  auto spool = open_spool(files);
  const std::string delta = tiny_delta(3);
  {
    auto first = spool->begin(TaskId(3), meta_of(delta));
    ASSERT_TRUE(first->append(0, delta.substr(0, 41)).ok());
  }
  EXPECT_EQ(spool->arrived_bytes(TaskId(3)), 41);
  EXPECT_THAT(spool->list(), ElementsAre(SpoolEntry{TaskId(3), kHeader + 41, false}));
  EXPECT_TRUE(absl::IsNotFound(spool->read(TaskId(3)).status()));
  spool = nullptr;
  spool = open_spool(files);  // a new process
  EXPECT_EQ(spool->arrived_bytes(TaskId(3)), 41);
  {
    auto second = spool->begin(TaskId(3), meta_of(delta));
    EXPECT_EQ(second->offset(), 41);
    ASSERT_TRUE(second->append(41, delta.substr(41)).ok());
    ASSERT_TRUE(second->commit().ok());
  }
  EXPECT_EQ(spool->read(TaskId(3))->payload, delta);
}

TEST(Spool, APartOfAnotherUploadStartsOver) {
  MemoryFileSystem files;
  const auto spool = open_spool(files);
  const std::string delta = tiny_delta(3);
  const auto begin = [&](DeltaMeta meta) { return spool->begin(TaskId(3), meta).value().offset(); };
  DeltaMeta meta = meta_of(delta);
  for (int changed = 0; changed < 5; ++changed) {
    auto first = spool->begin(TaskId(3), meta);
    ASSERT_TRUE(first->append(first->offset(), "x").ok());
    EXPECT_EQ(begin(meta), 1);
    if (changed == 0) meta.codec = "bf16";
    if (changed == 1) meta.codec_options = "";
    if (changed == 2) meta.values += 1;
    if (changed == 3) meta.bytes += 1;
    if (changed == 4) meta.digest = digest_of("y");
    EXPECT_EQ(begin(meta), 0) << changed;
  }
}

TEST(Spool, OnlyTheNextChunkIsTaken) {
  MemoryFileSystem files;
  const auto spool = open_spool(files);
  const std::string delta = tiny_delta(1);
  auto upload = spool->begin(TaskId(1), meta_of(delta));
  ASSERT_TRUE(upload->append(0, delta.substr(0, 10)).ok());
  EXPECT_EQ(message(upload->append(0, delta)),
            "[spool] task 1: got a chunk at byte 0, want byte 10");
  EXPECT_TRUE(absl::IsInvalidArgument(upload->append(11, "x")));
  EXPECT_EQ(message(upload->append(10, delta)),
            "[spool] task 1: got a chunk that ends at byte 110, want 100 bytes in all");
  EXPECT_TRUE(upload->append(10, "").ok());
  EXPECT_EQ(upload->offset(), 10);
  ASSERT_TRUE(upload->append(10, delta.substr(10)).ok()) << "refused chunks changed nothing";
  EXPECT_TRUE(upload->commit().ok());
  EXPECT_EQ(spool->read(TaskId(1))->payload, delta);
}

TEST(Spool, LengthAndDigestMustAgree) {
  MemoryFileSystem files;
  const auto spool = open_spool(files);
  const std::string delta = tiny_delta(1);
  for (const bool whole : {false, true}) {
    auto upload = spool->begin(TaskId(1), meta_of(delta));
    std::string wrong = delta;
    wrong[50] = 'x';
    ASSERT_TRUE(upload->append(0, whole ? wrong : delta.substr(0, 99)).ok());
    const Status status = upload->commit();
    EXPECT_EQ(absl::IsDataLoss(status), whole) << status;
    EXPECT_EQ(absl::IsInvalidArgument(status), !whole) << status;
    EXPECT_THAT(message(status), HasSubstr(whole ? "; send them again from the start"
                                                 : "got the end behind 99 bytes, want 100"));
    EXPECT_THAT(*files.list("run/spool"), IsEmpty());
    EXPECT_TRUE(absl::IsFailedPrecondition(upload->commit())) << "this upload is over";
    EXPECT_EQ(spool->bytes_used(), 0);
  }
  EXPECT_TRUE(upload(*spool, TaskId(1), delta).ok());
}

TEST(Spool, WhatCannotBeAnUploadIsRefused) {
  MemoryFileSystem files;
  const auto spool = open_spool(files);
  const auto refusal = [&](int64_t task, const auto& change) {
    DeltaMeta meta = meta_of("x");
    change(meta);
    const Status status = spool->begin(TaskId(task), meta).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    return message(status);
  };
  EXPECT_THAT(refusal(-1, [](DeltaMeta&) {}), HasSubstr("task -1: got a negative id"));
  EXPECT_THAT(refusal(1, [](DeltaMeta& m) { m.bytes = -1; }), HasSubstr("got -1 bytes"));
  EXPECT_THAT(refusal(1, [](DeltaMeta& m) { m.bytes = int64_t{1} << 62; }), HasSubstr("2^50"));
  EXPECT_THAT(refusal(1, [](DeltaMeta& m) { m.values = -1; }), HasSubstr("got -1 values"));
  EXPECT_THAT(refusal(1, [](DeltaMeta& m) { m.codec.resize(4097); }), HasSubstr("4096 bytes"));
  EXPECT_THAT(refusal(1, [](DeltaMeta& m) { m.codec_options.resize(99999); }), HasSubstr("4096"));
  EXPECT_THAT(refusal(1, [](DeltaMeta& m) { m.digest = "\n"; }), HasSubstr("digest of 1 char"));
  EXPECT_THAT(refusal(1, [](DeltaMeta& m) { m.digest[3] = 'G'; }), HasSubstr("32 hexadecimal"));
}

TEST(Spool, CommittingAgainChangesNothing) {
  MemoryFileSystem files;
  auto spool = open_spool(files);
  const std::string delta = tiny_delta(1);
  auto first = spool->begin(TaskId(1), meta_of(delta));
  ASSERT_TRUE(first->append(0, delta).ok());
  ASSERT_TRUE(first->commit().ok());
  EXPECT_TRUE(first->commit().ok());
  for (int i = 0; i < 2; ++i) {
    auto again = spool->begin(TaskId(1), meta_of(delta));
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(again->offset(), 100);
    EXPECT_TRUE(absl::IsInvalidArgument(again->append(100, "x")));
    EXPECT_TRUE(again->commit().ok());
    EXPECT_EQ(spool->read(TaskId(1))->payload, delta);
  }
}

TEST(Spool, ACompleteDeltaIsNotReplacedByAnother) {
  MemoryFileSystem files;
  const auto spool = open_spool(files);
  ASSERT_TRUE(upload(*spool, TaskId(1), tiny_delta(1)).ok());
  const Status status = upload(*spool, TaskId(1), tiny_delta(2));
  EXPECT_TRUE(absl::IsAlreadyExists(status)) << status;
  EXPECT_EQ(spool->read(TaskId(1))->payload, tiny_delta(1));
  ASSERT_TRUE(spool->remove(TaskId(1)).ok());
  EXPECT_TRUE(upload(*spool, TaskId(1), tiny_delta(2)).ok());
  EXPECT_EQ(spool->read(TaskId(1))->payload, tiny_delta(2));
}

TEST(Spool, ADamagedDeltaMakesRoomForANewOne) {
  for (int64_t at = 0; at < kHeader + 100; ++at) {
    MemoryFileSystem files;
    auto spool = open_spool(files);
    ASSERT_TRUE(upload(*spool, TaskId(1), tiny_delta(1)).ok());
    spool = nullptr;
    files.corrupt("run/spool/task-1.delta", at, 4);
    spool = open_spool(files);
    const auto found = spool->read(TaskId(1));
    const bool version = at >= 8 && at < 12;
    ASSERT_FALSE(found.ok()) << at;
    ASSERT_EQ(absl::IsDataLoss(found.status()), !version) << found.status();
    // One of another format is not ours to remove.
    ASSERT_EQ(upload(*spool, TaskId(1), tiny_delta(1)).ok(), !version) << at;
    ASSERT_EQ(spool->read(TaskId(1)).ok(), !version);
  }
}

TEST(Spool, ANewerUploadTakesOver) {
  MemoryFileSystem files;
  const auto spool = open_spool(files);
  const std::string delta = tiny_delta(1);
  auto stuck = spool->begin(TaskId(1), meta_of(delta));
  ASSERT_TRUE(stuck->append(0, delta.substr(0, 20)).ok());
  auto fresh = spool->begin(TaskId(1), meta_of(delta));
  ASSERT_TRUE(fresh.ok()) << fresh.status();
  EXPECT_EQ(fresh->offset(), 20);
  EXPECT_TRUE(absl::IsAborted(stuck->append(20, "x")));
  EXPECT_TRUE(absl::IsAborted(stuck->commit()));
  stuck = absl::UnavailableError("gone");
  ASSERT_TRUE(fresh->append(20, delta.substr(20)).ok());
  EXPECT_TRUE(fresh->commit().ok());
  EXPECT_EQ(spool->read(TaskId(1))->payload, delta);
}

TEST(Spool, AQuotaHoldsUploadsBackUntilThereIsRoom) {
  MemoryFileSystem files;
  int64_t other_use = 0;
  SpoolOptions options;
  options.quota_bytes = 2 * (kHeader + 100) + 50;
  options.other_use = [&] { return other_use; };
  const auto spool = open_spool(files, options);
  ASSERT_TRUE(upload(*spool, TaskId(1), tiny_delta(1)).ok());
  auto second = spool->begin(TaskId(2), meta_of(tiny_delta(2)));
  ASSERT_TRUE(second.ok()) << "what was announced counts, not what has come";
  const Status third = spool->begin(TaskId(3), meta_of(tiny_delta(3))).status();
  EXPECT_TRUE(absl::IsResourceExhausted(third)) << third;
  EXPECT_EQ(message(third),
            "[spool] run/spool: got 456 of 506 bytes in use, want room for 228; try again when "
            "deltas have been applied");
  EXPECT_TRUE(spool->begin(TaskId(2), meta_of(tiny_delta(2))).ok()) << "its own room is its own";
  ASSERT_TRUE(spool->remove(TaskId(1)).ok());
  other_use = 400;
  EXPECT_TRUE(absl::IsResourceExhausted(spool->begin(TaskId(3), meta_of(tiny_delta(3))).status()));
  other_use = 0;
  EXPECT_TRUE(upload(*spool, TaskId(3), tiny_delta(3)).ok());
  EXPECT_TRUE(upload(*spool, TaskId(2), tiny_delta(2)).ok());
  EXPECT_TRUE(upload(*spool, TaskId(2), tiny_delta(2)).ok()) << "what is complete needs no room";
  const Status never = spool->begin(TaskId(4), meta_of(tiny_delta(4, 1000))).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(never)) << never;
  EXPECT_EQ(message(never),
            "[spool] run/spool: got a delta of 1128 bytes, want 506 at most; raise the quota");
}

TEST(Spool, PublishedVersionsCountAgainstItsQuota) {
  MemoryFileSystem files;
  const auto versions = VersionStore::open(files, kRun, "layout").value();
  SpoolOptions options;
  options.quota_bytes = 1000;
  options.other_use = [&] { return versions->bytes_used(); };
  const auto spool = open_spool(files, options);
  ASSERT_TRUE(versions->publish(Version(1), std::vector<float>(180)).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(upload(*spool, TaskId(1), tiny_delta(1))));
  ASSERT_TRUE(versions->retain({}).ok());
  EXPECT_TRUE(upload(*spool, TaskId(1), tiny_delta(1)).ok());
}

TEST(Spool, TheDisksReserveIsLeftAlone) {
  MemoryFileSystem files;
  SpoolOptions options;
  options.reserve_bytes = 1000;
  const auto spool = open_spool(files, options);
  files.set_available_bytes(1000 + kHeader + 100);
  auto first = spool->begin(TaskId(1), meta_of(tiny_delta(1)));
  ASSERT_TRUE(first.ok()) << first.status();
  const Status second = spool->begin(TaskId(2), meta_of(tiny_delta(2))).status();
  EXPECT_TRUE(absl::IsResourceExhausted(second)) << second;
  EXPECT_EQ(message(second),
            "[spool] run/spool: got 1228 bytes of free disk, want 328 for uploads and 1000 in "
            "reserve; free some space")
      << "100 are still to come of the first";
}

TEST(Spool, AFullDiskKeepsWhatCameBefore) {
  MemoryFileSystem files;
  const auto spool = open_spool(files);
  const std::string delta = tiny_delta(1);
  {
    auto first = spool->begin(TaskId(1), meta_of(delta));
    ASSERT_TRUE(first->append(0, delta.substr(0, 20)).ok());
    files.fill_after(30);
    EXPECT_TRUE(absl::IsResourceExhausted(first->append(20, delta.substr(20))));
    EXPECT_TRUE(absl::IsFailedPrecondition(first->append(20, delta.substr(20))));
    EXPECT_TRUE(absl::IsFailedPrecondition(first->commit()));
  }
  EXPECT_EQ(spool->arrived_bytes(TaskId(1)), 50) << "a piece of the chunk fitted";
  EXPECT_TRUE(absl::IsResourceExhausted(upload(*spool, TaskId(2), tiny_delta(2))));
  EXPECT_EQ(files.list("run/spool")->size(), 1u) << "what has no header is no part";
  files.fill_after(10'000);
  EXPECT_EQ(spool->begin(TaskId(1), meta_of(delta))->offset(), 50);
  EXPECT_TRUE(upload(*spool, TaskId(1), delta).ok());
  EXPECT_EQ(spool->read(TaskId(1))->payload, delta);
}

TEST(Spool, AnErrorOfCommittingRemovesTheUpload) {
  for (const bool rename : {false, true}) {
    MemoryFileSystem files;
    const auto spool = open_spool(files);
    if (rename) files.fail_rename_to("run/spool/task-1.delta");
    if (!rename) files.fail_syncs(1);
    EXPECT_THAT(message(upload(*spool, TaskId(1), tiny_delta(1))), HasSubstr("Input/output error"));
    EXPECT_EQ(spool->arrived_bytes(TaskId(1)), 0);
    EXPECT_THAT(*files.list("run/spool"), IsEmpty());
    EXPECT_TRUE(upload(*spool, TaskId(1), tiny_delta(1)).ok());
  }
}

// A process that was killed behind the rename leaves a name that is not on disk yet.
TEST(Spool, CommittingAgainBringsTheNameToDisk) {
  MemoryFileSystem files;
  open_spool(files);
  const std::string path = "run/spool/task-1.delta";
  const std::string delta = tiny_delta(1);
  auto file = files.create(path);
  ASSERT_TRUE((*file)->append(encode_delta_header(TaskId(1), meta_of(delta)) + delta).ok());
  ASSERT_TRUE((*file)->sync().ok());
  ASSERT_TRUE(open_spool(files)->begin(TaskId(1), meta_of(delta))->commit().ok());
  files.restart(CrashKeeps::kNothing);
  EXPECT_TRUE(files.exists(path));
}

TEST(Spool, RemovedIsGoneAndAnOpenUploadEnds) {
  MemoryFileSystem files;
  const auto spool = open_spool(files);
  auto open = spool->begin(TaskId(1), meta_of(tiny_delta(1)));
  ASSERT_TRUE(upload(*spool, TaskId(2), tiny_delta(2)).ok());
  const SpooledDelta mapped = spool->read(TaskId(2)).value();
  for (const int64_t task : {1, 2, 3}) EXPECT_TRUE(spool->remove(TaskId(task)).ok());
  EXPECT_TRUE(absl::IsAborted(open->append(0, "x")));
  EXPECT_THAT(*files.list("run/spool"), IsEmpty());
  EXPECT_THAT(spool->list(), IsEmpty());
  EXPECT_FALSE(files.exists("run/kept"));
  EXPECT_EQ(mapped.payload, tiny_delta(2)) << "who reads it reads on";
}

TEST(Spool, KeepingMovesWhatIsCompleteAndStillReadsIt) {
  MemoryFileSystem files;
  SpoolOptions options;
  options.keep = true;
  auto spool = open_spool(files, options);
  ASSERT_TRUE(upload(*spool, TaskId(1), tiny_delta(1)).ok());
  EXPECT_TRUE(spool->begin(TaskId(2), meta_of(tiny_delta(2))).ok());
  EXPECT_TRUE(spool->remove(TaskId(1)).ok());
  EXPECT_TRUE(spool->remove(TaskId(2)).ok());
  EXPECT_THAT(*files.list("run/spool"), IsEmpty());
  EXPECT_EQ(files.list("run/kept")->size(), 1u);
  EXPECT_EQ(spool->bytes_used(), 0);
  spool = nullptr;
  files.restart(CrashKeeps::kNothing);
  const auto kept = open_delta(files, kRun, TaskId(1));  // another process
  ASSERT_TRUE(kept.ok()) << kept.status();
  EXPECT_EQ(kept->path, "run/kept/task-1.delta");
  EXPECT_EQ(kept->payload, tiny_delta(1));
  EXPECT_TRUE(kept->verify().ok());
}

TEST(Spool, TrimmingLeavesWhatIsNeededAndWhatIsArriving) {
  MemoryFileSystem files;
  const auto spool = open_spool(files);
  for (const int64_t task : {1, 2, 3}) {
    ASSERT_TRUE(upload(*spool, TaskId(task), tiny_delta(task)).ok());
  }
  ASSERT_TRUE(spool->begin(TaskId(4), meta_of(tiny_delta(4))).ok());
  ASSERT_TRUE(spool->begin(TaskId(5), meta_of(tiny_delta(5))).ok());
  auto open = spool->begin(TaskId(6), meta_of(tiny_delta(6)));
  ASSERT_TRUE(spool->trim({TaskId(2), TaskId(5), TaskId(9)}).ok());
  std::vector<int64_t> left;
  for (const SpoolEntry& entry : spool->list()) left.push_back(entry.task.value());
  EXPECT_THAT(left, ElementsAre(2, 5, 6));
  EXPECT_EQ(files.list("run/spool")->size(), 3u);
  EXPECT_TRUE(open->append(0, tiny_delta(6)).ok());
  EXPECT_TRUE(open->commit().ok());
}

TEST(Spool, ASecondProcessIsRefused) {
  MemoryFileSystem files;
  const auto spool = open_spool(files);
  EXPECT_TRUE(absl::IsFailedPrecondition(Spool::open(files, kRun, {}).status()));
}

TEST(Spool, FilesOfOthersAreLeftAlone) {
  MemoryFileSystem files;
  ASSERT_TRUE(files.make_directories("run/spool").ok());
  for (const char* name : {"notes", "task-01.delta", "task-.part", "task-1.delta.part"})
    ASSERT_TRUE(files.replace_file(join_path("run/spool", name), "x").ok());
  const auto spool = open_spool(files);
  EXPECT_THAT(spool->list(), IsEmpty());
  ASSERT_TRUE(spool->trim({}).ok());
  EXPECT_EQ(files.list("run/spool")->size(), 4u);
}

TEST(Spool, AnEmptyDeltaIsADelta) {
  MemoryFileSystem files;
  const auto spool = open_spool(files);
  EXPECT_TRUE(upload(*spool, TaskId(1), "").ok());
  EXPECT_EQ(spool->read(TaskId(1))->payload, "");
  EXPECT_TRUE(spool->read(TaskId(1))->verify().ok());
}

// Uploads, takeovers, trimming and listing at once, on the machine's files.
TEST(Spool, ManyThreadsUploadAtOnce) {
  const TemporaryDirectory directory;
  PosixFileSystem files;
  SpoolOptions options;
  options.reserve_bytes = 0;
  const auto opened = Spool::open(files, directory.path(), options);
  ASSERT_TRUE(opened.ok()) << opened.status();
  Spool& spool = **opened;
  constexpr int64_t kThreads = 6, kRounds = 8, kShared = 1000;
  std::set<TaskId> needed{TaskId(kShared)};
  for (int64_t task = 0; task < kThreads * kRounds; ++task) needed.insert(TaskId(task));
  std::vector<std::thread> threads;
  std::vector<Status> results(kThreads);
  for (int64_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      Status& result = results[static_cast<size_t>(t)];
      for (int64_t round = 0; round < kRounds && result.ok(); ++round) {
        const int64_t task = t * kRounds + round;
        result.Update(upload(spool, TaskId(task), tiny_delta(task, 10'000), 777));
        result.Update(spool.trim(needed));
        // All of them send this one; whoever is pushed aside gives up.
        const Status shared = upload(spool, TaskId(kShared), tiny_delta(9, 10'000), 777);
        if (!absl::IsAborted(shared)) result.Update(shared);
        if (spool.bytes_used() <= 0 || spool.list().empty())
          result.Update(absl::InternalError("0"));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Status& result : results) EXPECT_EQ(result, absl::OkStatus());
  ASSERT_TRUE(upload(spool, TaskId(kShared), tiny_delta(9, 10'000)).ok());
  EXPECT_EQ(spool.list().size(), needed.size());
  for (const TaskId task : needed) {
    const auto found = spool.read(task);
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_TRUE(found->verify().ok());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(found->payload.data()) % 64, 0u);
  }
}

}  // namespace
}  // namespace rubato

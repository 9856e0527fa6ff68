#include "rubato/store/version_store.h"

#include <atomic>
#include <thread>

#include "tests/store/temporary_directory.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rubato/base/digest.h"
#include "rubato/store/file_names.h"
#include "rubato/store/memory_file_system.h"
#include "rubato/store/posix_file_system.h"

namespace rubato {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::IsEmpty;

constexpr char kRun[] = "run";

std::vector<float> theta(int64_t version) {
  std::vector<float> values(50);
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(version) + 0.25f * static_cast<float>(i);
  return values;
}

std::unique_ptr<VersionStore> open_store(FileSystem& files) {
  return VersionStore::open(files, kRun, "layout").value();
}

TEST(VersionStore, AVersionIsReadAsItWasPublished) {
  MemoryFileSystem files;
  const auto store = open_store(files);
  ASSERT_TRUE(store->publish(Version(3), theta(3)).ok());
  ASSERT_TRUE(store->publish(Version(2), theta(2)).ok());
  const auto found = store->read(Version(3));
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->version, Version(3));
  EXPECT_THAT(found->values, ElementsAreArray(theta(3)));
  EXPECT_EQ(found->digest, digest_of(std::span<const float>(theta(3))));
  EXPECT_THAT(store->list(), ElementsAre(Version(2), Version(3)));
  EXPECT_EQ(store->bytes_used(), 2 * *files.file_size("run/versions/v-3"));
  EXPECT_EQ(store->read(Version(4)).status(),
            absl::NotFoundError("[versions] run/versions: got version 4, want one that is kept: 2, "
                                "3"));
}

TEST(VersionStore, OnlyTheRetainedStayAndReadersReadOn) {
  MemoryFileSystem files;
  const auto store = open_store(files);
  for (const int64_t version : {1, 2, 3})
    ASSERT_TRUE(store->publish(Version(version), theta(version)).ok());
  const PublishedVersion held = store->read(Version(1)).value();
  ASSERT_TRUE(store->retain({Version(2), Version(7)}).ok());
  EXPECT_THAT(store->list(), ElementsAre(Version(2)));
  EXPECT_EQ(files.list("run/versions")->size(), 1u);
  EXPECT_TRUE(absl::IsNotFound(store->read(Version(1)).status()));
  EXPECT_THAT(held.values, ElementsAreArray(theta(1)));
  ASSERT_TRUE(store->retain({}).ok());
  EXPECT_EQ(store->bytes_used(), 0);
  EXPECT_EQ(store->read(Version(2)).status().message(),
            "[versions] run/versions: got version 2, want one that is kept: none is");
}

TEST(VersionStore, ARepeatedVersionIsLeftAloneAndAnotherReplacesIt) {
  MemoryFileSystem files;
  const auto store = open_store(files);
  ASSERT_TRUE(store->publish(Version(1), theta(1)).ok());
  const int64_t work = files.work_done();
  ASSERT_TRUE(store->publish(Version(1), theta(1)).ok());
  EXPECT_EQ(files.work_done(), work);
  ASSERT_TRUE(store->publish(Version(1), theta(9)).ok());
  EXPECT_THAT(store->read(Version(1))->values, ElementsAreArray(theta(9)));
  EXPECT_EQ(store->list().size(), 1u);
}

TEST(VersionStore, ADiskThatIsFullKeepsTheOlder) {
  MemoryFileSystem files;
  const auto store = open_store(files);
  ASSERT_TRUE(store->publish(Version(1), theta(1)).ok());
  for (int64_t bytes = 0; bytes < 50 * 4; bytes += 7) {
    files.fill_after(bytes);
    EXPECT_TRUE(absl::IsResourceExhausted(store->publish(Version(1), theta(2))));
    EXPECT_EQ(files.list("run/versions")->size(), 1u);
  }
  EXPECT_THAT(store->read(Version(1))->values, ElementsAreArray(theta(1)));
}

TEST(VersionStore, AnotherLayoutOrFormatAndASecondProcessAreRefused) {
  MemoryFileSystem files;
  auto store = open_store(files);
  EXPECT_TRUE(absl::IsFailedPrecondition(VersionStore::open(files, kRun, "layout").status()));
  ASSERT_TRUE(store->publish(Version(1), theta(1)).ok());
  store = nullptr;
  EXPECT_EQ(VersionStore::open(files, kRun, "other").status(),
            absl::FailedPreconditionError("[versions] run/versions/v-1: got parameters of another "
                                          "layout, layout, want other"));
  files.corrupt("run/versions/v-1", 8, 2);
  EXPECT_EQ(VersionStore::open(files, kRun, "layout").status(),
            absl::FailedPreconditionError("[versions] run/versions/v-1: got format 3, want 1"));
}

TEST(VersionStore, WhatIsDamagedIsNotFoundAgain) {
  MemoryFileSystem whole;
  ASSERT_TRUE(open_store(whole)->publish(Version(1), theta(1)).ok());
  const int64_t bytes = *whole.file_size("run/versions/v-1");
  for (int64_t at = 0; at < bytes; ++at) {
    if (at >= 8 && at < 12) continue;  // the format's version
    MemoryFileSystem files;
    ASSERT_TRUE(open_store(files)->publish(Version(1), theta(1)).ok());
    files.corrupt("run/versions/v-1", at, 16);
    const auto store = open_store(files);
    ASSERT_THAT(store->list(), IsEmpty()) << at;
    ASSERT_THAT(*files.list("run/versions"), IsEmpty());
    ASSERT_TRUE(store->publish(Version(1), theta(1)).ok());
  }
}

// Nothing of a version that was only published has to survive; what does is whole, and what was
// persisted does.
TEST(VersionStore, WherePowerGoesWhatIsFoundIsWholeAndThePersistedIsThere) {
  const auto live = [](MemoryFileSystem& files, bool& persisted) -> Status {
    RUBATO_ASSIGN_OR_RETURN(const auto store, VersionStore::open(files, kRun, "layout"));
    RUBATO_RETURN_IF_ERROR(store->publish(Version(1), theta(1)));
    RUBATO_RETURN_IF_ERROR(store->publish(Version(2), theta(2)));
    RUBATO_RETURN_IF_ERROR(store->persist({Version(2)}));
    persisted = true;
    RUBATO_RETURN_IF_ERROR(store->publish(Version(2), theta(2)));
    RUBATO_RETURN_IF_ERROR(store->publish(Version(3), theta(3)));
    return store->retain({Version(2), Version(3)});
  };
  MemoryFileSystem whole;
  bool all = false;
  ASSERT_EQ(live(whole, all), absl::OkStatus());
  for (const CrashKeeps keeps :
       {CrashKeeps::kNothing, CrashKeeps::kNames, CrashKeeps::kNamesAndHalf,
        CrashKeeps::kNamesAndHole, CrashKeeps::kEverything}) {
    for (int64_t work = 0; work < whole.work_done(); ++work) {
      MemoryFileSystem files;
      files.cut_power_after(work);
      bool persisted = false;
      ASSERT_FALSE(live(files, persisted).ok());
      files.restart(keeps);
      const auto store = open_store(files);
      for (const Version version : store->list())
        ASSERT_THAT(store->read(version)->values, ElementsAreArray(theta(version.value())));
      ASSERT_TRUE(!persisted || store->read(Version(2)).ok()) << work;
      const auto entries = files.list("run/versions").value();
      for (const DirectoryEntry& entry : entries) ASSERT_GE(version_of_name(entry.name), 1);
    }
  }
}

TEST(VersionStore, PersistingWhatIsNotThereSaysSo) {
  MemoryFileSystem files;
  const auto store = open_store(files);
  EXPECT_TRUE(absl::IsNotFound(store->persist({Version(1)})));
  EXPECT_THAT(*files.list("run/versions"), IsEmpty());
}

TEST(VersionStore, ReadersNeverSeeHalfAVersion) {
  const TemporaryDirectory directory;
  PosixFileSystem files;
  const auto store = VersionStore::open(files, directory.path(), "layout");
  ASSERT_TRUE(store.ok()) << store.status();
  std::atomic<bool> done{false};
  std::atomic<int64_t> wrong{0};
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&] {
      while (!done) {
        for (const Version version : (*store)->list()) {
          const auto found = (*store)->read(version);
          const bool gone = absl::IsNotFound(found.status());
          if (!gone && (!found.ok() || digest_of(found->values) != found->digest)) ++wrong;
        }
      }
    });
  }
  for (int64_t version = 0; version < 60; ++version) {
    EXPECT_TRUE((*store)->publish(Version(version), theta(version)).ok());
    EXPECT_TRUE((*store)->retain({Version(version), Version(version - 1)}).ok());
  }
  done = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(wrong, 0);
  const auto found = (*store)->read(Version(59));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(found->values.data()) % 64, 0u);
}

}  // namespace
}  // namespace rubato

// The promises of the seam, held by the machine's files and by their twin in memory alike.
#include "rubato/store/file_system.h"

#include "tests/store/temporary_directory.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "rubato/store/memory_file_system.h"
#include "rubato/store/posix_file_system.h"

namespace rubato {
namespace {

using ::testing::HasSubstr;

class FileSystemTest : public ::testing::TestWithParam<bool> {
 protected:
  FileSystemTest() {
    if (GetParam()) {
      files_ = std::make_unique<PosixFileSystem>();
      root_ = directory_.path();
    } else {
      files_ = std::make_unique<MemoryFileSystem>();
      root_ = "/root";
      EXPECT_TRUE(files_->make_directories(root_).ok());
    }
  }
  std::string at(std::string_view name) const { return join_path(root_, name); }
  void put(const std::string& path, std::string_view bytes) {
    auto file = files_->create(path);
    ASSERT_TRUE(file.ok()) << file.status();
    ASSERT_TRUE((*file)->append(bytes).ok());
    ASSERT_TRUE((*file)->close().ok());
  }

  TemporaryDirectory directory_;
  std::unique_ptr<FileSystem> files_;
  std::string root_;
};

INSTANTIATE_TEST_SUITE_P(Both, FileSystemTest, ::testing::Bool(), [](const auto& kind) {
  return kind.param ? std::string("posix") : std::string("memory");
});

TEST_P(FileSystemTest, WhatIsWrittenIsRead) {
  auto file = files_->create(at("a"));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE((*file)->append("hello ").ok());
  EXPECT_TRUE((*file)->append("").ok());
  EXPECT_TRUE((*file)->append("world").ok());
  EXPECT_TRUE((*file)->sync().ok());
  EXPECT_TRUE((*file)->close().ok());
  EXPECT_TRUE((*file)->close().ok());
  EXPECT_EQ(*files_->read_file(at("a")), "hello world");
  EXPECT_EQ(*files_->read_range(at("a"), 6, 3), "wor");
  EXPECT_EQ(*files_->read_range(at("a"), 6, 100), "world");
  EXPECT_EQ(*files_->read_range(at("a"), 100, 3), "");
  EXPECT_EQ(files_->map(at("a"))->bytes, "hello world");
  EXPECT_EQ(*files_->file_size(at("a")), 11);
}

TEST_P(FileSystemTest, CreateEmptiesAndOpenAppendKeeps) {
  put(at("a"), "long words");
  put(at("a"), "x");
  EXPECT_EQ(*files_->read_file(at("a")), "x");
  auto more = files_->open_append(at("a"));
  EXPECT_TRUE((*more)->append("yz").ok());
  EXPECT_EQ(*files_->read_file(at("a")), "xyz");
  EXPECT_TRUE(files_->open_append(at("new")).ok());
  EXPECT_EQ(files_->map(at("new"))->bytes, "");
}

TEST_P(FileSystemTest, AShortenedFileGoesOnAtItsEnd) {
  for (const bool fresh : {true, false}) {
    put(at("a"), "long words");
    auto file = fresh ? files_->create(at("b")) : files_->open_append(at("a"));
    if (fresh) {
      ASSERT_TRUE((*file)->append("long words").ok());
    }
    EXPECT_TRUE((*file)->truncate(10).ok());
    EXPECT_TRUE((*file)->truncate(4).ok());
    EXPECT_TRUE((*file)->append(" way").ok());
    EXPECT_TRUE((*file)->sync().ok());
    EXPECT_EQ(*files_->read_file(at(fresh ? "b" : "a")), "long way");
  }
}

TEST_P(FileSystemTest, AViewOutlivesTheFilesName) {
  put(at("a"), "kept");
  const FileView view = *files_->map(at("a"));
  const FileView copy = view;
  EXPECT_TRUE(files_->remove_file(at("a")).ok());
  EXPECT_EQ(copy.bytes, "kept");
}

TEST_P(FileSystemTest, MissingFilesAreNotFoundByName) {
  const std::string path = at("nothing");
  const Status status = files_->read_file(path).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(status.message(),
            cat("[file] ", path, ": got No such file or directory, want a file to read"));
  EXPECT_EQ(files_->map(path).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(files_->file_size(path).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(files_->list(path).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(files_->create(at("no/where")).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(files_->rename(path, at("b")).code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(files_->exists(path));
  EXPECT_TRUE(files_->remove_file(path).ok());
  EXPECT_TRUE(files_->remove_tree(path).ok());
}

TEST_P(FileSystemTest, DirectoriesAreMadeListedAndRemoved) {
  ASSERT_TRUE(files_->make_directories(at("x/y/z")).ok());
  ASSERT_TRUE(files_->make_directories(at("x/y/z")).ok());
  put(at("x/b"), "1");
  put(at("x/a"), "2");
  const auto entries = files_->list(at("x"));
  ASSERT_TRUE(entries.ok());
  ASSERT_EQ(entries->size(), 3u);
  EXPECT_EQ((*entries)[0].name, "a");
  EXPECT_FALSE((*entries)[0].is_directory);
  EXPECT_EQ((*entries)[2].name, "y");
  EXPECT_TRUE((*entries)[2].is_directory);
  EXPECT_TRUE(files_->sync_directory(at("x")).ok());
  EXPECT_FALSE(files_->read_file(at("x")).ok());
  EXPECT_FALSE(files_->make_directories(at("x/a")).ok());
  EXPECT_FALSE(files_->make_directories(at("x/a/deeper")).ok());
  EXPECT_FALSE(files_->remove_file(at("x")).ok());
  EXPECT_TRUE(files_->remove_tree(at("x")).ok());
  EXPECT_FALSE(files_->exists(at("x")));
}

TEST_P(FileSystemTest, RenameReplacesFilesButNoFullDirectory) {
  put(at("a"), "new");
  put(at("b"), "old");
  EXPECT_TRUE(files_->rename(at("a"), at("b")).ok());
  EXPECT_EQ(*files_->read_file(at("b")), "new");
  EXPECT_FALSE(files_->exists(at("a")));
  ASSERT_TRUE(files_->make_directories(at("full/of")).ok());
  ASSERT_TRUE(files_->make_directories(at("moved/things")).ok());
  EXPECT_FALSE(files_->rename(at("moved"), at("full")).ok());
  EXPECT_FALSE(files_->rename(at("b"), at("full")).ok());
  ASSERT_TRUE(files_->remove_tree(at("full/of")).ok());
  EXPECT_TRUE(files_->rename(at("moved"), at("full")).ok());
  EXPECT_TRUE(files_->exists(at("full/things")));
}

TEST_P(FileSystemTest, ReplaceFileLeavesNothingBesideIt) {
  EXPECT_TRUE(files_->replace_file(at("a"), "one").ok());
  EXPECT_TRUE(files_->replace_file(at("a"), "two").ok());
  EXPECT_EQ(*files_->read_file(at("a")), "two");
  EXPECT_EQ(files_->list(root_)->size(), 1u);
}

TEST_P(FileSystemTest, APrivateFileIsItsOwnersAlone) {
  ASSERT_TRUE(files_->create_private(at("new")).ok());
  EXPECT_EQ(*files_->file_access(at("new")), FileAccess::kOwner);
  EXPECT_TRUE(absl::IsAlreadyExists(files_->create_private(at("new")).status()));
  EXPECT_TRUE(absl::IsNotFound(files_->file_access(at("none")).status()));
}

TEST_P(FileSystemTest, ReplacingPrivatelyHidesWhatOthersCouldRead) {
  put(at("key"), "old");
  put(at("key.tmp"), "left by a crash, open to all");
  ASSERT_TRUE(files_->replace_private_file(at("key"), "new").ok());
  EXPECT_EQ(*files_->read_file(at("key")), "new");
  EXPECT_EQ(*files_->file_access(at("key")), FileAccess::kOwner);
  EXPECT_EQ(files_->list(root_)->size(), 1u);
}

TEST_P(FileSystemTest, ADirectoryIsLockedOnceAtATime) {
  ASSERT_TRUE(files_->make_directories(at("run")).ok());
  auto first = files_->lock_directory(at("run"));
  ASSERT_TRUE(first.ok()) << first.status();
  const auto second = files_->lock_directory(at("run"));
  EXPECT_TRUE(absl::IsFailedPrecondition(second.status())) << second.status();
  EXPECT_THAT(std::string(second.status().message()),
              HasSubstr("run: got a directory that another process works in, want it alone"));
  EXPECT_TRUE(files_->lock_directory(root_).ok()) << "another one is free";
  first->reset();
  EXPECT_TRUE(files_->lock_directory(at("run")).ok());
  EXPECT_TRUE(absl::IsNotFound(files_->lock_directory(at("none")).status()));
}

TEST_P(FileSystemTest, AvailableBytesAreThoseOfTheNearestParent) {
  const auto bytes = files_->available_bytes(at("not/made/yet"));
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_GT(*bytes, 0);
}

TEST(PosixFileSystem, AccessIsTheFilesMode) {
  TemporaryDirectory directory;
  PosixFileSystem files;
  const std::string path = join_path(directory.path(), "key");
  ASSERT_TRUE(files.replace_private_file(path, "secret").ok());
  struct stat facts {};
  ASSERT_EQ(::stat(path.c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 07777, mode_t{0600});
  ASSERT_EQ(::chmod(path.c_str(), 0640), 0);
  EXPECT_EQ(*files.file_access(path), FileAccess::kGroup);
  ASSERT_EQ(::chmod(path.c_str(), 0602), 0);
  EXPECT_EQ(*files.file_access(path), FileAccess::kEveryone);
}

TEST(PosixFileSystem, AFullDiskIsResourceExhausted) {
  PosixFileSystem files;
  auto file = files.create("/dev/full");
  ASSERT_TRUE(file.ok()) << file.status();
  const Status status = (*file)->append("x");
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("[file] /dev/full: the disk is full;"));
}

TEST(Paths, PartsJoinAndSplit) {
  EXPECT_EQ(join_path("a", "b"), "a/b");
  EXPECT_EQ(join_path("a/", "b"), "a/b");
  EXPECT_EQ(join_path("", "b"), "b");
  EXPECT_EQ(parent_path("a/b"), "a");
  EXPECT_EQ(parent_path("a/b/"), "a");
  EXPECT_EQ(parent_path("a"), ".");
  EXPECT_EQ(parent_path("/a"), "/");
  EXPECT_EQ(base_name("a/b/"), "b");
}

TEST(MemoryFileSystem, ACrashLosesWhatWasNotSynced) {
  for (const CrashKeeps keeps :
       {CrashKeeps::kNothing, CrashKeeps::kNames, CrashKeeps::kNamesAndHalf,
        CrashKeeps::kNamesAndHole, CrashKeeps::kEverything}) {
    MemoryFileSystem files;
    auto file = files.create("a");
    ASSERT_TRUE((*file)->append("1234").ok());
    ASSERT_TRUE((*file)->sync().ok());
    ASSERT_TRUE((*file)->append("5678").ok());
    ASSERT_TRUE(files.sync_directory(".").ok());
    ASSERT_TRUE(files.create("unsynced").ok());
    files.restart(keeps);
    const std::string want = keeps == CrashKeeps::kEverything     ? "12345678"
                             : keeps == CrashKeeps::kNamesAndHalf ? "123456"
                             : keeps == CrashKeeps::kNamesAndHole ? std::string(
                                                                        "1234\0\0"
                                                                        "78",
                                                                        8)
                                                                  : "1234";
    EXPECT_EQ(*files.read_file("a"), want);
    EXPECT_EQ(files.exists("unsynced"), keeps != CrashKeeps::kNothing);
  }
}

TEST(MemoryFileSystem, AFileThatWasShortenedIsAsItWasUntilItIsSynced) {
  for (const CrashKeeps keeps : {CrashKeeps::kNames, CrashKeeps::kEverything}) {
    MemoryFileSystem files;
    ASSERT_TRUE(files.replace_file("a", "12345678").ok());
    auto file = files.open_append("a");
    ASSERT_TRUE((*file)->truncate(2).ok());
    files.restart(keeps);
    EXPECT_EQ(*files.read_file("a"), keeps == CrashKeeps::kNames ? "12345678" : "12");
  }
}

TEST(MemoryFileSystem, AFullDiskTakesWhatFits) {
  MemoryFileSystem files;
  files.fill_after(5);
  auto file = files.create("a");
  EXPECT_TRUE((*file)->append("123").ok());
  const Status status = (*file)->append("4567");
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(*files.read_file("a"), "12345");
}

TEST(MemoryFileSystem, AFailingSyncSaysSo) {
  MemoryFileSystem files;
  files.fail_syncs(1);
  EXPECT_EQ(files.replace_file("a", "bytes").message(),
            "[file] a.tmp: got Input/output error, want to sync");
  EXPECT_TRUE(files.list(".")->empty());
  EXPECT_TRUE(files.replace_file("a", "bytes").ok());
}

// The claim of replace_file, for a power cut at every unit of its work.
TEST(MemoryFileSystem, ReplaceFileIsAtomicWhereverThePowerGoes) {
  for (const CrashKeeps keeps :
       {CrashKeeps::kNothing, CrashKeeps::kNames, CrashKeeps::kNamesAndHalf,
        CrashKeeps::kNamesAndHole, CrashKeeps::kEverything}) {
    bool finished = false;
    for (int64_t work = 0; !finished; ++work) {
      MemoryFileSystem files;
      ASSERT_TRUE(files.replace_file("a", "the old words").ok());
      files.cut_power_after(work);
      finished = files.replace_file("a", "new").ok();
      files.restart(keeps);
      const std::string found = *files.read_file("a");
      EXPECT_TRUE(found == "new" || (!finished && found == "the old words"))
          << "work " << work << ": " << found;
    }
  }
}

}  // namespace
}  // namespace rubato

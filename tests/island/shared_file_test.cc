// A file goes to the ranks that do not have it, and only then; trouble at one rank is told.
#include "rubato/island/shared_file.h"

#include <string>

#include "tests/island/thread_link.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rubato/base/digest.h"
#include "rubato/store/memory_file_system.h"

namespace rubato {
namespace {

using ::testing::HasSubstr;

constexpr const char* kPath = "/run/data/tokens.bin";

// More than one piece.
const std::string& content() {
  static const std::string text = [] {
    std::string made((size_t{9} << 20) + 5, '\0');
    for (size_t i = 0; i < made.size(); ++i) made[i] = static_cast<char>(i * 7 + (i >> 12));
    return made;
  }();
  return text;
}

SharedFile described(const std::string& bytes) {
  return {kPath, std::ssize(bytes), digest_of(std::string_view(bytes))};
}

void put(FileSystem& files, const std::string& bytes) {
  ASSERT_TRUE(files.make_directories("/run/data").ok());
  ASSERT_TRUE(files.replace_file(kPath, bytes).ok());
}

TEST(SharedFile, ComesToThoseWhoLackIt) {
  ThreadIsland::run(
      4,
      [](IslandLink& link) {
        MemoryFileSystem files;
        put(files, content());
        EXPECT_TRUE(give_file(link, files, described(content())).ok());
      },
      [](IslandLink& link) {
        MemoryFileSystem files;
        if (link.rank() == 1) put(files, content());
        if (link.rank() == 2) put(files, "of another run");
        take_file(link, files, described(content()));
        EXPECT_TRUE(files.read_file(kPath).value() == content()) << "rank " << link.rank();
        EXPECT_FALSE(files.exists(cat(kPath, ".part-", link.rank())));
      });
}

TEST(SharedFile, IsNotSentWhenAllHaveIt) {
  ThreadIsland::run(
      2,
      [](IslandLink& link) {
        MemoryFileSystem files;
        put(files, content());
        EXPECT_TRUE(give_file(link, files, described(content())).ok());
      },
      [](IslandLink& link) {
        MemoryFileSystem files;
        put(files, content());
        files.fill_after(0);
        take_file(link, files, described(content()));
      });
}

TEST(SharedFile, AFullDiskIsTold) {
  ThreadIsland::run(
      3,
      [](IslandLink& link) {
        MemoryFileSystem files;
        put(files, content());
        const Status status = give_file(link, files, described(content()));
        EXPECT_TRUE(absl::IsResourceExhausted(status));
        EXPECT_THAT(std::string(status.message()), HasSubstr("rank 2 of the island: "));
      },
      [](IslandLink& link) {
        MemoryFileSystem files;
        if (link.rank() == 2) files.fill_after(5 << 20);
        take_file(link, files, described(content()));
        EXPECT_EQ(files.exists(kPath), link.rank() == 1);
        EXPECT_EQ(files.list("/run/data").value().size(), link.rank() == 1 ? 1u : 0u);
      });
}

TEST(SharedFile, WhatRankZeroDoesNotHaveIsItsError) {
  ThreadIsland::run(
      2,
      [](IslandLink& link) {
        MemoryFileSystem files;
        EXPECT_TRUE(absl::IsNotFound(give_file(link, files, described(content()))));
        put(files, "short");
        EXPECT_TRUE(absl::IsDataLoss(give_file(link, files, described(content()))));
      },
      [](IslandLink& link) {
        MemoryFileSystem files;
        take_file(link, files, described(content()));
        take_file(link, files, described(content()));
        EXPECT_FALSE(files.exists(kPath));
      });
}

}  // namespace
}  // namespace rubato

// A lock that somebody holds for a moment is waited for, one that is held for long is named.
#include "rubato/rpc/patient_lock.h"

#include <chrono>
#include <thread>

#include "tests/store/temporary_directory.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rubato/store/memory_file_system.h"
#include "rubato/store/posix_file_system.h"

namespace rubato {
namespace {

TEST(PatientLock, WaitsForItsTurn) {
  TemporaryDirectory directory;
  PosixFileSystem files;
  auto held = files.lock_directory(directory.path());
  ASSERT_TRUE(held.ok()) << held.status();
  std::thread other([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    held->reset();
  });
  const auto lock = lock_patiently(files, directory.path(), 60'000);
  EXPECT_TRUE(lock.ok()) << lock.status();
  other.join();
}

TEST(PatientLock, GivesUpAndSaysSo) {
  MemoryFileSystem files;
  ASSERT_TRUE(files.make_directories("/run").ok());
  const auto held = files.lock_directory("/run");
  const Status status = lock_patiently(files, "/run", 20).status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_EQ(
      status.message(),
      "[file] /run: got a lock that another process has held for 20 ms, want it for a moment");
  EXPECT_TRUE(absl::IsNotFound(lock_patiently(files, "/none", 20).status()));
}

}  // namespace
}  // namespace rubato

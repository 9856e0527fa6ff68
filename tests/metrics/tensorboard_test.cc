#include "rubato/metrics/tensorboard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rubato/store/memory_file_system.h"

namespace rubato {
namespace {

// RFC 3720, B.4.
TEST(TensorBoard, ChecksumsAreCastagnolis) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  EXPECT_EQ(crc32c(""), 0u);
}

// tensorflow/core/lib/hash/crc32c.h: masked = rotate right by 15, + 0xa282ead8.
TEST(TensorBoard, ARecordIsLengthBytesAndTheirChecksums) {
  const std::string record = tfrecord("abc");
  ASSERT_EQ(record.size(), 8u + 4 + 3 + 4);
  EXPECT_EQ(record.substr(0, 8), std::string("\x03\0\0\0\0\0\0\0", 8));
  EXPECT_EQ(record.substr(12, 3), "abc");
  const uint32_t crc = crc32c("abc");
  uint32_t stored = 0;
  for (int i = 3; i >= 0; --i)
    stored = stored << 8 | static_cast<unsigned char>(record[15 + static_cast<size_t>(i)]);
  EXPECT_EQ(stored, (crc >> 15 | crc << 17) + 0xa282ead8u);
}

TEST(TensorBoard, AFileBeginsWithItsVersionAndHoldsScalars) {
  MemoryFileSystem files;
  auto sink = TensorBoardSink::open(files, "board");
  ASSERT_TRUE(sink.ok()) << sink.status();
  EvalRecord eval;
  eval.local_steps = 300;
  eval.virtual_time_ns = 2'500'000'000;
  eval.loss_nats = 1.5;
  sink->on_eval(eval);
  // By protoc from event.proto: wall_time, step, file_version.
  const std::string version =
      tfrecord(std::string("\x09\0\0\0\0\0\0\0\0\x10\0\x1a\x0d", 13) + "brain.Event:2");
  const std::string text = *files.read_file(std::string("board/") + kEventFile);
  EXPECT_TRUE(text.starts_with(version));
  // wall_time 2.5, step 300, tag, simple_value 1.5f
  EXPECT_THAT(text,
              ::testing::HasSubstr(std::string("\x09\0\0\0\0\0\0\x04\x40\x10\xac\x02\x2a", 13)));
  EXPECT_THAT(
      text, ::testing::HasSubstr(std::string("\x0a\x14validation/loss_nats\x15\0\0\xc0\x3f", 27)));
}

TEST(TensorBoard, UpdatesCountTheStepsOfAllAndRejectsNone) {
  MemoryFileSystem files;
  auto sink = TensorBoardSink::open(files, "board");
  ASSERT_TRUE(sink.ok());
  UpdateRecord update;
  update.steps = 100;
  update.workers = 3;
  update.verdict = "applied";
  sink->on_update(update);
  ASSERT_TRUE(sink->flush().ok());
  const auto size = [&] { return *files.file_size(std::string("board/") + kEventFile); };
  EXPECT_THAT(*files.read_file(std::string("board/") + kEventFile),
              ::testing::HasSubstr("\x10\xac\x02"));  // step 300
  const int64_t before = size();
  update.verdict = "rejected:norm";
  sink->on_update(update);
  ASSERT_TRUE(sink->flush().ok());
  EXPECT_EQ(size(), before);
}

}  // namespace
}  // namespace rubato

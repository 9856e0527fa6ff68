#include "rubato/rpc/chunk.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <xxhash.h>

namespace rubato {
namespace {

TEST(Chunk, IsCheckedAgainstItsPlaceAndItsSum) {
  Chunk chunk = make_chunk(8, 20, "abcd", nullptr);
  EXPECT_TRUE(check_chunk(chunk, 8, 20).ok());
  EXPECT_TRUE(absl::IsDataLoss(check_chunk(chunk, 7, 20)));
  EXPECT_TRUE(absl::IsDataLoss(check_chunk(chunk, 8, 21)));
  EXPECT_TRUE(absl::IsDataLoss(check_chunk(make_chunk(18, 20, "abcd", nullptr), 18, 20)));
  EXPECT_TRUE(absl::IsDataLoss(check_chunk(make_chunk(8, 20, "", nullptr), 8, 20)));
  chunk.data = "abce";
  EXPECT_TRUE(absl::IsDataLoss(check_chunk(chunk, 8, 20)));
}

TEST(Chunk, ItsChecksumIsTheProtocols) {
  const std::string data = "rubato";
  EXPECT_EQ(make_chunk(0, 6, data, nullptr).checksum, XXH3_64bits(data.data(), data.size()));
}

// Whatever bytes travel in whatever cuts, each chunk passes at its own place and nowhere else.
TEST(Chunk, PassesAtItsPlaceAlone) {
  rc::check([](const std::string& bytes) {
    const auto total = std::ssize(bytes);
    for (int64_t offset = 0; offset < total;) {
      const int64_t size = *rc::gen::inRange<int64_t>(1, total - offset + 1);
      std::string data = bytes.substr(static_cast<size_t>(offset), static_cast<size_t>(size));
      const Chunk chunk = make_chunk(offset, total, data, nullptr);
      RC_ASSERT(check_chunk(chunk, offset, total).ok());
      RC_ASSERT(absl::IsDataLoss(check_chunk(chunk, offset + 1, total + 1)));
      RC_ASSERT(absl::IsDataLoss(check_chunk(chunk, offset, total + 1)));
      const size_t at = *rc::gen::inRange<size_t>(0, data.size());
      data[at] ^= static_cast<char>(*rc::gen::inRange(1, 256));
      RC_ASSERT(absl::IsDataLoss(check_chunk(chunk, offset, total)));
      offset += size;
    }
  });
}

TEST(BufferPool, UsesABufferAgainOnceNobodyHoldsIt) {
  BufferPool pool;
  BufferPool::Buffer first = pool.take(10);
  const BufferPool::Buffer second = pool.take(10);
  EXPECT_NE(first, second);
  const auto* place = first.get();
  first.reset();
  EXPECT_EQ(pool.take(20).get(), place);
}

}  // namespace
}  // namespace rubato

// Encoding, decoding, checking and error feedback allocate nothing.
#include <atomic>
#include <cstdlib>
#include <new>

#include "tests/codec/fixtures.h"
#include <gtest/gtest.h>

#include "rubato/codec/error_feedback.h"

namespace {
std::atomic<int64_t> news{0};
}

// Replaces the program's allocation functions; counting is all that is added.
void* operator new(std::size_t size) {
  news.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace rubato::testing {
namespace {

TEST(CodecAllocation, NoneForAnyCodec) {
  constexpr int64_t kSize = 70'001;
  const Floats delta = random_floats(kSize, 1);
  Floats out(5000);
  for (CodecCase& one : codec_cases()) {
    const std::shared_ptr<const Codec> codec = std::move(one.codec);
    ErrorFeedback feedback(codec, kSize);
    Bytes encoded(static_cast<size_t>(codec->encoded_bytes(kSize)));
    const int64_t before = news;
    codec->encode(delta, encoded);
    codec->decode(encoded, 60'013, out);
    const bool passes = codec->check(encoded, kSize).ok();
    feedback.encode(delta, encoded, nullptr);
    feedback.commit();
    EXPECT_EQ(news - before, 0) << one.title;
    EXPECT_TRUE(passes);
  }
}

}  // namespace
}  // namespace rubato::testing
